import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest
from rows import insert, quote
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.errors import RejectedError, UnavailableError
from quotes.database.sessions import Sessions
from quotes.live import replay
from quotes.live.replay import Page, Replay

if TYPE_CHECKING:
    from quotes.live.replica import Replica


class Counting(Sessions):
    """Sessions that are counted, and that fail on demand."""

    def __init__(self, sessions: Sessions, *failures: Exception) -> None:
        self._sessions = sessions
        self.failures = list(failures)
        self.opened = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[AsyncSession]:
        self.opened += 1
        if self.failures:
            raise self.failures.pop(0)
        async with self._sessions() as session:
            yield session


@pytest.fixture
async def counting(sessions: Sessions) -> Counting:
    await insert(sessions, *(quote(name, at) for at in range(5) for name in ("a_usd", "b_usd")))
    return Counting(sessions)


async def test_a_page_that_many_want_is_read_once(counting: Counting) -> None:
    lane = Replay(counting, 2)

    pages = await asyncio.gather(*(lane.page(0, 10, None) for _ in range(100)))

    assert counting.opened == 1
    assert {(len(quotes), upto) for quotes, upto in pages} == {(10, 10)}


async def test_a_bounded_number_of_pages_is_in_memory(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "MAX_PAGES", 3)
    lane = Replay(counting, 2)

    for after in range(10):
        await lane.page(after, 10, None)
    assert len(lane._pages) == 3


async def test_a_lost_database_is_waited_for(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "RETRY", 0)
    counting.failures = [UnavailableError("away"), UnavailableError("away")]

    quotes, _ = await Replay(counting, 2).page(0, 10, None)

    assert len(quotes) == 10
    assert counting.opened == 3


async def test_a_refused_statement_is_not_tried_again(counting: Counting) -> None:
    counting.failures = [RejectedError("wrong")]
    lane = Replay(counting, 2)

    with pytest.raises(RejectedError):
        await lane.page(0, 10, None)
    assert counting.opened == 1
    assert len((await lane.page(0, 10, None))[0]) == 10  # who comes later is no worse off


async def test_whoever_leaves_takes_the_page_from_nobody(counting: Counting) -> None:
    lane = Replay(counting, 2)
    leaving, staying = (asyncio.create_task(lane.page(0, 10, None)) for _ in range(2))
    await asyncio.sleep(0)

    leaving.cancel()

    assert len((await staying)[0]) == 10


async def test_a_page_gives_way_to_all_that_is_ready(counting: Counting) -> None:
    """However quickly it is had: else one replay from memory would hold the event loop."""
    lane = Replay(counting, 2)
    await lane.page(0, 10, None)
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    for _ in range(100):
        await lane.page(0, 10, None)
    counter.cancel()

    assert rounds >= 100


@pytest.mark.parametrize("tickers", [None, ["a_usd"]])
async def test_a_page_is_read_of_whichever_months_the_log_has_grown_by(
    counting: Counting, sessions: Sessions, tickers: list[str] | None
) -> None:
    lane = Replay(counting, 2)
    await lane.page(0, 10, tickers)
    await insert(sessions, quote("a_usd", at=-99_999))
    await insert(sessions, quote("a_usd", at=99_999))

    found, cursor = list[int](), 10
    while cursor < 12:
        quotes, cursor = await lane.page(cursor, 12, tickers)
        found += [each.seq for each in quotes]

    assert found == [11, 12]


class Lagging(Sessions):
    """Of a server that knows of no partition yet, as a standby that is behind."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[AsyncSession]:
        async with self._sessions() as session:
            await (await session.connection()).execute(text("DELETE FROM partitions"))
            yield session  # and what it has done is rolled back


class Disproved:
    """A standby that turns out to be behind after it has been read."""

    def __init__(self, sessions: Sessions) -> None:
        self.replays = Lagging(sessions)

    async def read(
        self, there: Callable[[], Awaitable[Page]], here: Callable[[], Awaitable[Page]]
    ) -> Page:
        quotes, _ = await there()
        assert not quotes
        return await here()


async def test_what_a_standby_has_said_of_partitions_is_not_kept_for_the_primary_s_pages(
    counting: Counting, sessions: Sessions
) -> None:
    lane = Replay(counting, 2)
    lane.replica = cast("Replica", Disproved(sessions))

    quotes, upto = await lane.page(0, 10, None)

    assert (len(quotes), upto) == (10, 10)
