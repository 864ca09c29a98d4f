"""The versions of PostgreSQL that the statements of `quotes.database` are tested on."""

import pytest

from quotes.database.connections import OLDEST_POSTGRES
from quotes.local import binaries
from quotes.local.embedded import Postgres

# As `pytestmark` of a file: its tests run on the newest PostgreSQL of this machine, then on the
# oldest one that is promised.
on_each_postgres = pytest.mark.parametrize(
    "database_url", ["newest", "oldest"], indirect=True, scope="session"
)


class OldestPostgres(Postgres):
    """A server of the oldest version that is promised."""

    def _fitting(self, found: list[binaries.PostgresPrograms]) -> binaries.PostgresPrograms:
        return next(each for each in found if each.major == OLDEST_POSTGRES)


def require_oldest_postgres() -> None:
    """Skip where that version is not installed."""
    if OLDEST_POSTGRES not in {each.major for each in binaries.postgres()}:
        reason = f"PostgreSQL {OLDEST_POSTGRES}, the oldest that is promised, is not installed"
        pytest.skip(reason)
