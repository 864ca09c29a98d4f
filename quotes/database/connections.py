"""How one connection to the database is opened, and how its loss is known.

Without SQLAlchemy, whose import takes seconds that not every process needs to spend.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import asyncpg

Connect = Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]

CONNECT_TIMEOUT = 5.0  # seconds; a database that has not answered by then is away
STATEMENT_TIMEOUT = 10.0  # seconds; the longest page takes a fraction of one

# What a lost, refused, silent or not yet migrated database raises. A loop that outlives its
# database catches these names, says so, and tries again.
LOST: tuple[type[Exception], ...] = (
    OSError,  # TimeoutError is one
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


def connector(
    url: str, *, name: str, statement_timeout: float | None = STATEMENT_TIMEOUT
) -> Connect:
    """What opens one connection: a name in pg_stat_activity, and every wait with a limit.

    asyncpg reads the URL, so all of libpq's words work: `?sslmode=`, `?host=/socket/folder`,
    several hosts.
    """
    limit = "0" if statement_timeout is None else str(int(statement_timeout * 1000))
    return partial(
        asyncpg.connect,
        url,
        timeout=CONNECT_TIMEOUT,
        command_timeout=None if statement_timeout is None else statement_timeout + 1,
        server_settings={
            "application_name": f"quotes-{name}",
            "statement_timeout": limit,
            # A host that vanished frees the counter's lock, or the leader's, within half a minute.
            "idle_in_transaction_session_timeout": limit,
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
            "tcp_user_timeout": "25000",
            "timezone": "UTC",
        },
    )
