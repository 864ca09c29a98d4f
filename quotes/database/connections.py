"""Opening connections to the database.

Without SQLAlchemy, whose import takes seconds that not every process needs to spend.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from quotes import addresses
from quotes.settings import SettingsError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connect = Callable[[], Awaitable[Connection]]

# The oldest major version that the PostgreSQL project itself still maintains: support for 14 ended
# on 12 November 2026. Every statement is tested on it.
OLDEST_POSTGRES = 15

# Advisory locks: numbers that nothing else in this database locks. Of a migration, of the scheduler
# that leads, of a worker that claims a chart, of one that compacts a month.
MIGRATION_LOCK, LEADER_LOCK, CLAIM_LOCK = 7_306_001, 7_306_002, 7_306_003
COMPACTION_LOCK = 7_306_004

CONNECT_TIMEOUT = 5.0  # seconds; then the database counts as unavailable
STATEMENT_TIMEOUT = 10.0  # seconds; the longest page takes a fraction of one


class UnsupportedServerError(Exception):
    """The database server is older than OLDEST_POSTGRES; the message says what to do."""


def require_supported(major: int) -> None:
    """Raises UnsupportedServerError for a server of an older major version."""
    if major < OLDEST_POSTGRES:
        raise UnsupportedServerError(
            f"The database server is PostgreSQL {major}; quotes needs "
            f"PostgreSQL {OLDEST_POSTGRES} or newer. Set QUOTES_DATABASE_URL to one."
        )


def connector(
    url: str,
    *,
    name: str,
    statement_timeout: float | None = STATEMENT_TIMEOUT,
    variable: str = "QUOTES_DATABASE_URL",
    kind: type[Connection] = asyncpg.Connection,
) -> Connect:
    """A function that opens connections, named in pg_stat_activity and with time limits.

    asyncpg reads the URL, so libpq's parameters work: `?sslmode=`, `?host=/socket/folder`, several
    hosts. Raises SettingsError if the URL, which is that of `variable`, or libpq's environment, can
    never work.
    """
    parts = urlsplit(url)
    named = dict(parse_qsl(parts.query, keep_blank_values=True))
    passfile = named.pop("passfile", None)  # as text it is an error of asyncpg 0.32's own
    query = {name: value for name, value in named.items() if name not in addresses.IGNORED}
    dsn = urlunsplit(parts._replace(query=urlencode(query)))
    server_settings = _server_settings(name, statement_timeout)

    async def connect() -> Connection:
        try:
            return await asyncpg.connect(
                dsn,
                passfile=passfile and Path(passfile),
                timeout=CONNECT_TIMEOUT,
                connection_class=kind,
                command_timeout=None if statement_timeout is None else statement_timeout + 1,
                server_settings=server_settings,
            )
        except OSError:  # a rejected certificate is a ValueError, too
            raise
        except ValueError as error:  # also ClientConfigurationError; no later attempt can succeed
            raise SettingsError(
                f"{variable} cannot be used, or a variable of libpq's (PGPORT, PGSSLMODE, ...) "
                f"that fills in what it leaves out: {error}."
            ) from error

    return connect


def _server_settings(name: str, statement_timeout: float | None) -> dict[str, str]:
    limit = "0" if statement_timeout is None else str(int(statement_timeout * 1000))
    return {
        "application_name": f"quotes-{name}",
        "statement_timeout": limit,
        # If a host vanishes, its lock of the counter or the leader's is released in half a minute.
        "idle_in_transaction_session_timeout": limit,
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "25000",
        "timezone": "UTC",
        # A role's or a database's own default would make writers fail instead of wait.
        "default_transaction_isolation": "read committed",
        # A plan for any range opens every partition, and is the wrong one for years of history.
        "plan_cache_mode": "force_custom_plan",
        # Replays go by the index that has their order, however few rows another one seems to have.
        "enable_incremental_sort": "off",
        "jit": "off",  # these statements run for milliseconds; compiling them takes longer
    }


@asynccontextmanager
async def open_pool(url: str, *, name: str, size: int) -> AsyncIterator[Pool]:
    """At most `size` connections without SQLAlchemy; each is opened when it is first needed.

    So a process starts while its database is unavailable.
    """
    async with pool_of(connector(url, name=name), size=size) as pool:
        yield pool


@asynccontextmanager
async def pool_of(connect: Connect, *, size: int) -> AsyncIterator[Pool]:
    """As `open_pool`, of connections that `connect` opens."""

    async def open_connection(*_: object, **__: object) -> Connection:
        return await connect()  # the pool's own arguments are the connector's already

    async def leave_as_it_is(_: Connection) -> None:
        pass  # statements leave no state behind, and a reset costs a round trip

    pool = asyncpg.create_pool(
        min_size=0, max_size=size, connect=open_connection, reset=leave_as_it_is
    )
    async with pool:
        try:
            yield pool
        finally:
            pool.terminate()  # no statement outlives its process
