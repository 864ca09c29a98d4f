"""Migrating the database's schema with Alembic, and finding out its revision."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from quotes.database import connections
from quotes.database.errors import translated
from quotes.database.maintenance import revisions
from quotes.database.sessions import open_engine

NOTHING = "base"  # Alembic's name for a database before the first revision
LOCK_TIMEOUT = 3_600.0  # seconds; migrating a large table takes minutes


async def current(engine: AsyncEngine) -> str:
    """The database's revision; `base` if it was never migrated."""
    async with engine.connect() as connection:
        if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
            return NOTHING
        revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        return NOTHING if revision is None else str(revision)


def migrate(
    database_url: str, revision: str = "head", *, lock_timeout: float = LOCK_TIMEOUT
) -> None:
    """Migrate the database up or down to `revision`. Must not be called inside a running loop.

    Waits up to `lock_timeout` seconds for another migration to finish. Raises errors.DatabaseError,
    and UnsupportedServerError if the server is too old.
    """
    wanted = revisions.head() if revision == "head" else revision
    with translated():
        present = asyncio.run(_current(database_url))
        if present != wanted:
            down = _rank(wanted) < _rank(present)
            _move(database_url, wanted, down=down, lock_timeout=lock_timeout)


async def _current(database_url: str) -> str:
    async with open_engine(database_url, name="migrate") as engine:
        async with engine.connect() as connection:
            major = text("SELECT current_setting('server_version_num')::int / 10000")
            connections.require_supported(await connection.scalar(major) or 0)
        return await current(engine)


def is_known(
    _item: object,
    name: str | None,
    kind: str,
    reflected: bool,  # noqa: FBT001  # as Alembic calls it
    _compared_to: object,
) -> bool:
    """Whether Alembic compares it with the models, which know no partition of `quotes`."""
    return not (kind == "table" and reflected and str(name).startswith("quotes_"))


def _rank(revision: str) -> int:
    """Revisions are numbered: 0001, 0002, ..."""
    return 0 if revision == NOTHING else int(revision)


def _move(database_url: str, revision: str, *, down: bool, lock_timeout: float) -> None:
    from alembic import command  # noqa: PLC0415  # a second or more, and rarely needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    # Alembic expands % in its options.
    config.set_main_option("script_location", str(revisions.FOLDER).replace("%", "%%"))
    config.attributes.update(database_url=database_url, lock_timeout=lock_timeout)
    (command.downgrade if down else command.upgrade)(config, revision)
