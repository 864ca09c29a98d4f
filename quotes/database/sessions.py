"""SQLAlchemy's engine and sessions, whose exceptions are those of `errors`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database import connections
from quotes.database.errors import ConflictError, translated

POOL_SIZE = 8  # default connections of a process; with two cores more of them would only queue
CLOSE_TIMEOUT = 1.0  # seconds for a pool to say goodbye; a database may have fallen silent
ATTEMPTS = 5  # at a transaction with conflicts

Result = TypeVar("Result")


class Sessions:
    """Opens sessions, each for one block. They raise `errors.DatabaseError`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._maker = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)

    @property
    def primary(self) -> "Sessions":
        """Sessions for what a replica cannot be known to have: rows without a seq, as failures."""
        return self

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[AsyncSession]:
        """A session for reading."""
        with translated():
            async with self._maker() as session:
                yield session

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A session whose block is one transaction."""
        with translated():
            async with self._maker.begin() as session:
                yield session

    async def transact(self, work: Callable[[AsyncSession], Awaitable[Result]]) -> Result:
        """Run `work` in a transaction; retry in a new one after a conflict with another.

        Raises ConflictError after ATTEMPTS conflicts.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                async with self.begin() as session:
                    return await work(session)
            except ConflictError:
                continue
        async with self.begin() as session:
            return await work(session)


@asynccontextmanager
async def open_engine(
    url: str,
    *,
    name: str,
    size: int = POOL_SIZE,
    ping: bool = True,
    statement_timeout: float | None = connections.STATEMENT_TIMEOUT,
) -> AsyncIterator[AsyncEngine]:
    """A pool that connects on first use, so a process starts while its database is unavailable.

    With `ping` a connection is tested before each use, so no query fails after a restart of the
    database; without it, the first use after a restart fails.
    """
    connect = connections.connector(url, name=name, statement_timeout=statement_timeout)
    async with engine_of(connect, size=size, ping=ping) as engine:
        yield engine


@asynccontextmanager
async def engine_of(
    connect: connections.Connect, *, size: int, ping: bool
) -> AsyncIterator[AsyncEngine]:
    """As `open_engine`, of connections that `connect` opens."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=size,
        max_overflow=0,
        pool_timeout=connections.CONNECT_TIMEOUT,
        pool_pre_ping=ping,
    )
    try:
        yield engine
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await engine.dispose()
