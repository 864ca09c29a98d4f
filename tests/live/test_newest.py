"""The newest quotes from memory are never older than they may be."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import asyncpg
import pytest
from rows import insert, quote

from quotes.database import connections
from quotes.database.log import store
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions, open_engine
from quotes.live.feed import Feed, open_feed
from quotes.live.newest import BOUND, Newest
from quotes.live.single_flight import SingleFlight
from quotes.settings import Settings

SILENT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"


@pytest.fixture
async def feed(settings: Settings, sessions: Sessions) -> AsyncIterator[Feed]:
    connect = connections.connector(settings.require_database_url(), name="test")
    async with open_feed(sessions, connect, sessions) as (feed, _):
        yield feed


@pytest.fixture
def newest(feed: Feed, sessions: Sessions) -> Newest:
    return Newest(feed, sessions, SingleFlight(feed))


async def known(newest: Newest) -> Mapping[str, Quote]:
    found = await newest.quotes()
    assert found is not None
    return found


async def prices(newest: Newest) -> dict[str, str]:
    return {ticker: str(quote.price) for ticker, quote in (await known(newest)).items()}


async def test_a_quote_is_known_a_moment_after_its_commit_also_without_notifications(
    settings: Settings, newest: Newest, feed: Feed, sessions: Sessions
) -> None:
    connection = await asyncpg.connect(settings.require_database_url())
    for at in range(8):
        if at % 2:
            await connection.execute(SILENT)

        await insert(sessions, quote(at=at, price=str(at + 1)))
        await asyncio.sleep(BOUND)  # what is promised is a time

        assert await prices(newest) == {"btc_usd": str(at + 1)}
    await connection.close()


async def test_the_newest_is_that_of_the_newest_minute_whatever_arrives_last(
    newest: Newest, feed: Feed, sessions: Sessions
) -> None:
    arriving = [
        (quote(at=5, price="5"), "5"),
        (quote(at=3, price="3", origin=Origin.REPAIRED), "5"),
        (quote(at=4, price="4", origin=Origin.BACKFILLED), "5"),
        (quote(at=6, price="6", origin=Origin.REPAIRED), "6"),
        (quote(at=7, price="7", origin=Origin.BACKFILLED), "7"),
        (quote(at=8, price="8"), "8"),
    ]
    for each, expected in arriving:
        await insert(sessions, each)
        await feed.reach(each.seq or await end(sessions))

        assert await prices(newest) == {"btc_usd": expected}


async def end(sessions: Sessions) -> int:
    async with sessions() as session:
        return await store.high_water(session)


async def test_nothing_is_known_while_the_database_cannot_be_read(
    settings: Settings,
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nowhere"
    connect = connections.connector(nowhere, name="test")
    async with (
        open_engine(nowhere, name="test", size=1) as engine,
        open_feed(Sessions(engine), connect, Sessions(engine)) as (feed, _),
    ):
        assert not await feed.current(BOUND)
