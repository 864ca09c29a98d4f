"""What many request at once is read once, and again after each commit."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from rows import insert, quote, until

from quotes.database import connections
from quotes.database.errors import UnavailableError
from quotes.database.log import store
from quotes.database.sessions import Sessions, open_engine
from quotes.live.feed import Feed, open_feed
from quotes.live.single_flight import AT_ONCE, MAX_STORED, SingleFlight
from quotes.settings import Settings


@dataclass(frozen=True)
class Counting:
    """How many quotes there are, and how often that was reads of the database."""

    sessions: Sessions
    name: int = 0
    reads: list[int] = field(default_factory=list, compare=False)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event, compare=False)

    async def read(self) -> int:
        self.reads.append(self.name)
        await self.may_go_on.wait()
        async with self.sessions() as session:
            return await store.high_water(session)


@pytest.fixture
async def feed(settings: Settings, sessions: Sessions) -> AsyncIterator[Feed]:
    connect = connections.connector(settings.require_database_url(), name="feed")
    async with open_feed(sessions, connect, sessions) as (feed, _):
        await feed.position()
        yield feed


@pytest.fixture
def counting(sessions: Sessions) -> Counting:
    counting = Counting(sessions)
    counting.may_go_on.set()
    return counting


async def test_a_read_is_done_once_for_all_until_the_next_commit(
    feed: Feed, sessions: Sessions, counting: Counting
) -> None:
    single_flight = SingleFlight(feed)

    assert await asyncio.gather(*(single_flight.read(counting) for _ in range(50))) == [0] * 50
    assert len(counting.reads) == 1

    await insert(sessions, quote(at=1))
    await feed.reach(1)
    assert await asyncio.gather(*(single_flight.read(counting) for _ in range(50))) == [1] * 50
    assert len(counting.reads) == 2


async def test_a_caller_that_leaves_does_not_cancel_the_read_of_the_others(
    feed: Feed, counting: Counting
) -> None:
    counting.may_go_on.clear()
    single_flight = SingleFlight(feed)
    leaving, staying = (asyncio.create_task(single_flight.read(counting)) for _ in range(2))
    await until(lambda: bool(counting.reads))

    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    counting.may_go_on.set()

    assert await staying == 0
    assert len(counting.reads) == 1


async def test_a_read_that_failed_is_done_again(
    feed: Feed, sessions: Sessions, counting: Counting
) -> None:
    single_flight = SingleFlight(feed)
    async with open_engine("postgresql://nobody@/nowhere?host=/nowhere", name="test") as lost:
        away = Counting(Sessions(lost), may_go_on=counting.may_go_on)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await single_flight.read(away)

    assert len(away.reads) == 2
    assert await single_flight.read(counting) == 0


async def test_a_few_of_many_different_reads_run_at_once(feed: Feed, counting: Counting) -> None:
    counting.may_go_on.clear()
    single_flight = SingleFlight(feed)
    many = [
        Counting(counting.sessions, name, counting.reads, counting.may_go_on) for name in range(50)
    ]
    results = asyncio.gather(*map(single_flight.read, many))
    await until(lambda: bool(counting.reads))
    await feed.position()

    assert len(counting.reads) == AT_ONCE

    counting.may_go_on.set()
    assert await results == [0] * 50
    assert counting.reads == [*range(50)]


async def test_a_bounded_number_of_results_is_stored(feed: Feed, counting: Counting) -> None:
    single_flight = SingleFlight(feed)
    for name in range(MAX_STORED + 1):
        await single_flight.read(
            Counting(counting.sessions, name, counting.reads, counting.may_go_on)
        )
    assert len(counting.reads) == MAX_STORED + 1

    await single_flight.read(
        Counting(counting.sessions, MAX_STORED, counting.reads, counting.may_go_on)
    )
    assert len(counting.reads) == MAX_STORED + 1  # the newest is among them
    await single_flight.read(counting)
    assert len(counting.reads) == MAX_STORED + 2  # the oldest is not
