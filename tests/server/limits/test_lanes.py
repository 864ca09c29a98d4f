"""No lane of a web process waits for a connection of another."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import asyncpg
from client import serving
from rows import insert, quote, wait

from quotes.database.log import store
from quotes.database.sessions import Sessions
from quotes.server.lanes import open_lanes
from quotes.settings import Settings


async def names(settings: Settings) -> list[str]:
    connection = await asyncpg.connect(settings.require_database_url())
    rows = await connection.fetch(
        "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'quotes-%'"
    )
    await connection.close()
    return [row["application_name"] for row in rows]


async def test_each_lane_has_connections_of_its_own(settings: Settings) -> None:
    small = settings.model_copy(update={"query_connections": 2, "replay_connections": 1})
    async with open_lanes(small) as lanes, AsyncExitStack() as held, asyncio.timeout(60):
        for sessions in (lanes.live, lanes.replays, lanes.sessions):
            session = await held.enter_async_context(sessions())
            assert await store.high_water(session) == 0
        async with lanes.queries.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1

            assert sorted(await names(settings)) == [
                "quotes-api",
                "quotes-api",
                "quotes-live",
                "quotes-replay",
            ]


async def test_the_stream_goes_on_while_every_connection_for_queries_is_taken(
    settings: Settings, sessions: Sessions
) -> None:
    blocker = await asyncpg.connect(settings.require_database_url())
    async with (
        serving(settings) as client,
        client.subscription("subscription { priceUpdates { ticker } }") as updates,
    ):
        await client.data("{ tickers { name } }")
        async with blocker.transaction():
            await blocker.execute("LOCK failures")  # which queries read, and no stream
            queries = [
                asyncio.create_task(
                    client.answer(
                        f'{{ n{each}: latestPrice(ticker: "BTC", maxAge: "1s") {{ at }} }}'
                    )
                )
                for each in range(settings.query_connections)  # none of them equals another
            ]
            await wait(partial(waiting, settings), lambda many: many >= LANE)

            await insert(sessions, quote(at=1))

            assert await updates.next() == {"ticker": "btc_usd"}
        await asyncio.gather(*queries)
    await blocker.close()


LANE = 4  # of the 8 connections for queries, those that plans have


async def waiting(settings: Settings) -> int:
    """How many connections for queries wait for a lock."""
    connection = await asyncpg.connect(settings.require_database_url())
    many: int = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'quotes-api' AND wait_event_type = 'Lock'"
    )
    await connection.close()
    return many
