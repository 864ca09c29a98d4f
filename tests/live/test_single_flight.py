"""What many ask at once is read once, and anew after each commit."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from rows import insert, quote, until

from quotes.database import connections, store
from quotes.database.errors import UnavailableError
from quotes.live.feed import Feed, open_feed
from quotes.live.single_flight import AT_ONCE, MAX_KEPT, Readings
from quotes.settings import Settings


@dataclass(frozen=True)
class Counting:
    """How many quotes there are, and how often that was asked of the database."""

    sessions: store.Sessions
    name: int = 0
    asked: list[int] = field(default_factory=list, compare=False)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event, compare=False)

    async def read(self) -> int:
        self.asked.append(self.name)
        await self.may_go_on.wait()
        async with self.sessions() as session:
            return await store.high_water(session)


@pytest.fixture
async def feed(settings: Settings, sessions: store.Sessions) -> AsyncIterator[Feed]:
    connect = connections.connector(settings.require_database_url(), name="feed")
    async with open_feed(sessions, connect, sessions) as (feed, _):
        await feed.position()
        yield feed


@pytest.fixture
def counting(sessions: store.Sessions) -> Counting:
    counting = Counting(sessions)
    counting.may_go_on.set()
    return counting


async def test_a_reading_is_made_once_for_all_until_the_next_commit(
    feed: Feed, sessions: store.Sessions, counting: Counting
) -> None:
    readings = Readings(feed)

    assert await asyncio.gather(*(readings.now(counting) for _ in range(50))) == [0] * 50
    assert len(counting.asked) == 1

    await insert(sessions, quote(at=1))
    await feed.reach(1)
    assert await asyncio.gather(*(readings.now(counting) for _ in range(50))) == [1] * 50
    assert len(counting.asked) == 2


async def test_who_leaves_takes_the_reading_from_nobody(feed: Feed, counting: Counting) -> None:
    counting.may_go_on.clear()
    readings = Readings(feed)
    leaving, staying = (asyncio.create_task(readings.now(counting)) for _ in range(2))
    await until(lambda: bool(counting.asked))

    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    counting.may_go_on.set()

    assert await staying == 0
    assert len(counting.asked) == 1


async def test_a_reading_that_failed_is_made_again(
    feed: Feed, sessions: store.Sessions, counting: Counting
) -> None:
    readings = Readings(feed)
    async with store.open_engine("postgresql://nobody@/nowhere?host=/nowhere", name="test") as lost:
        away = Counting(store.sessions_of(lost), may_go_on=counting.may_go_on)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await readings.now(away)

    assert len(away.asked) == 2
    assert await readings.now(counting) == 0


async def test_few_of_many_different_readings_are_made_at_once(
    feed: Feed, counting: Counting
) -> None:
    counting.may_go_on.clear()
    readings = Readings(feed)
    many = [
        Counting(counting.sessions, name, counting.asked, counting.may_go_on) for name in range(50)
    ]
    asking = asyncio.gather(*map(readings.now, many))
    await until(lambda: bool(counting.asked))
    await feed.position()

    assert len(counting.asked) == AT_ONCE

    counting.may_go_on.set()
    assert await asking == [0] * 50
    assert counting.asked == [*range(50)]


async def test_a_bounded_number_of_readings_is_kept(feed: Feed, counting: Counting) -> None:
    readings = Readings(feed)
    for name in range(MAX_KEPT + 1):
        await readings.now(Counting(counting.sessions, name, counting.asked, counting.may_go_on))
    assert len(counting.asked) == MAX_KEPT + 1

    await readings.now(Counting(counting.sessions, MAX_KEPT, counting.asked, counting.may_go_on))
    assert len(counting.asked) == MAX_KEPT + 1  # the newest is among them
    await readings.now(counting)
    assert len(counting.asked) == MAX_KEPT + 2  # the oldest is not
