"""Reading from a standby, by connections that are handed out once they have what is needed.

A standby shows ever more of the log, never less; but which standby a URL leads to may change with
each connection. So each connection proves for itself what it has, and what is read by it counts
only where its server was still a standby afterwards.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database import connections
from quotes.database.errors import RejectedError, UnavailableError, translated
from quotes.database.log.fingerprints import FINGERPRINT
from quotes.database.maintenance import revisions
from quotes.database.models import Quote
from quotes.database.sessions import Sessions, engine_of

VARIABLE = "QUOTES_REPLICA_URL"
STATEMENT_TIMEOUT = 2.0  # seconds; what takes longer is read from the primary


class BehindError(UnavailableError):
    """It has not replayed yet what an answer needs."""


class NoReplicaError(RejectedError):
    """It is no standby, or one of another database."""


class Connection(asyncpg.Connection):  # type: ignore[misc]  # it has no types
    """A connection to a standby."""

    proven: Any = None  # the place of the log up to which it was seen to have everything

    def remember(self, proven: object) -> None:
        """A pool's proxy passes on no assignment."""
        self.proven = proven


Prove = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Lanes:
    """The connections of one process to a standby; all open on first use."""

    look: connections.Connect  # for looking how far it has come
    engine: AsyncEngine  # for queries by the resolvers
    queries: connections.Pool  # for queries without SQLAlchemy
    replays: AsyncEngine  # for subscribers that catch up


@asynccontextmanager
async def open_lanes(
    url: str, *, of_resolvers: int, of_plans: int, of_replays: int
) -> AsyncIterator[Lanes]:
    """With so many connections each."""
    async with (
        # None is tested before its use: where one is lost, its query is read from the primary.
        engine_of(_connector(url, "api"), size=of_resolvers, ping=False) as engine,
        connections.pool_of(_connector(url, "api"), size=of_plans) as queries,
        engine_of(_connector(url, "replay"), size=of_replays, ping=False) as replays,
    ):
        yield Lanes(_connector(url, "replica"), engine, queries, replays)


def _connector(url: str, name: str) -> connections.Connect:
    return connections.connector(
        url,
        name=name,
        statement_timeout=STATEMENT_TIMEOUT,
        variable=VARIABLE,
        kind=Connection,
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a standby has come."""

    seq: int
    fingerprint: str | None  # of the quote that was asked for; None where it has another or none


_STANDING = f"""
    SELECT pg_is_in_recovery(), seq, (SELECT version_num FROM alembic_version),
           (SELECT {FINGERPRINT} FROM quotes
            WHERE ticker = $1 AND minute = $2 AND quotes.seq = $3)
    FROM high_water
"""  # noqa: S608  # our own text alone


_this_release = cache(revisions.head)


async def standing(connection: Connection, quote: Quote | None) -> Standing:
    """With the fingerprint of its quote that has this one's ticker, minute and seq.

    Raises NoReplicaError where it is no standby with the tables of this release, and the driver's
    exceptions.
    """
    asked = (None, None, None) if quote is None else (quote.ticker, quote.minute, quote.seq)
    in_recovery, last, revision, found = await connection.fetchrow(_STANDING, *asked)
    _require_standby("on" if in_recovery else "off")  # whatever a pooler reports
    if revision != _this_release():
        raise NoReplicaError(f"its tables are at revision {revision}, not this release's")
    return Standing(last, found)


def _require_standby(in_hot_standby: str | None) -> None:
    if in_hot_standby is None:
        raise NoReplicaError("it does not say whether it is a standby: reach it without a pooler")
    if in_hot_standby != "on":
        raise NoReplicaError("it is no standby, or one no longer: it accepts writes of its own")


@asynccontextmanager
async def _proven(connection: Connection, prove: Prove) -> AsyncIterator[None]:
    """Raises what `prove` raises, and NoReplicaError where the server was promoted meanwhile.

    Any failure but BehindError ends the connection: the next one may lead to another server, and
    nobody waits for an answer that is no longer needed.
    """
    try:
        await prove(connection)
        yield
        # As of its last statement: PostgreSQL reports a promotion before the end of the next one.
        _require_standby(getattr(connection.get_settings(), "in_hot_standby", None))
    except BehindError:
        raise
    except BaseException:
        connection.terminate()
        raise


class ReplicaPool:
    """As a pool, as far as statements need one, of proven connections."""

    def __init__(self, pool: connections.Pool, prove: Prove) -> None:
        self._pool = pool
        self._prove = prove

    @asynccontextmanager
    async def acquire(self, *, timeout: float) -> AsyncIterator[connections.Connection]:  # noqa: ASYNC109  # as a pool has it
        async with (
            self._pool.acquire(timeout=timeout) as connection,
            _proven(connection, self._prove),
        ):
            yield connection


class ReplicaSessions(Sessions):
    """Sessions for reading on proven connections."""

    def __init__(self, engine: AsyncEngine, prove: Prove, primary: Sessions) -> None:
        super().__init__(engine)
        self._engine = engine
        self._prove = prove
        self._primary = primary

    @property
    def primary(self) -> Sessions:
        return self._primary

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[AsyncSession]:
        with translated():
            async with self._engine.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                assert isinstance(driver, Connection)
                try:
                    async with (
                        _proven(driver, self._prove),
                        AsyncSession(bind=connection, expire_on_commit=False) as session,
                    ):
                        yield session
                except BaseException:
                    if driver.is_closed():
                        await connection.invalidate()
                    raise
