"""The database connections of a web process, in lanes: none waits for a connection of another."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from quotes.database import connections, replica
from quotes.database.sessions import Sessions, open_engine
from quotes.settings import Settings


@dataclass(frozen=True, slots=True)
class Lanes:
    """What each part of a web process reads the database by; all open on first use."""

    live: Sessions  # one connection, for the feed's reading of the log
    listen: connections.Connect  # the feed's LISTEN connection
    replays: Sessions  # for subscribers that begin, or are behind the feed's tail
    engine: AsyncEngine  # for queries by the resolvers
    queries: connections.Pool  # for queries without SQLAlchemy
    exports: connections.Pool  # one connection, for the pages of files
    health: AsyncEngine  # one connection, for the health check
    replica: replica.Lanes | None  # to the standby, where there is one

    @property
    def sessions(self) -> Sessions:
        return Sessions(self.engine)


@asynccontextmanager
async def open_lanes(settings: Settings) -> AsyncIterator[Lanes]:
    url = settings.require_database_url()
    of_plans = settings.query_connections // 2
    of_resolvers = settings.query_connections - of_plans
    async with (
        open_engine(url, name="live", size=1, ping=False) as live,
        open_engine(url, name="replay", size=settings.replay_connections) as replays,
        open_engine(url, name="api", size=of_resolvers) as engine,
        open_engine(url, name="health", size=1) as health,
        connections.open_pool(url, name="api", size=of_plans) as queries,
        connections.open_pool(url, name="export", size=1) as exports,
        _open_replica(settings, of_resolvers, of_plans) as of_replica,
    ):
        yield Lanes(
            # It reads by single statements: a transaction around each would be two more.
            live=Sessions(live.execution_options(isolation_level="AUTOCOMMIT")),
            listen=connections.connector(url, name="feed"),
            replays=Sessions(replays),
            engine=engine,
            queries=queries,
            exports=exports,
            health=health,
            replica=of_replica,
        )


@asynccontextmanager
async def _open_replica(
    settings: Settings, of_resolvers: int, of_plans: int
) -> AsyncIterator[replica.Lanes | None]:
    """As many connections as to the primary, so that all queries find one at either."""
    if settings.replica_url is None:
        yield None
        return
    async with replica.open_lanes(
        settings.replica_url.get_secret_value(),
        of_resolvers=of_resolvers,
        of_plans=of_plans,
        of_replays=settings.replay_connections,
    ) as lanes:
        yield lanes
