"""Which chart is fetched when, by how many workers there may be."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import inf

import pytest
from client import serving
from rows import NOON, insert, log, minute, quote
from sqlmodel import col, func, select

from quotes.database import backfills
from quotes.database.log import store
from quotes.database.models import Backfill, Origin, Quote
from quotes.database.sessions import Sessions
from quotes.market.sources import (
    Cause,
    Chart,
    Point,
    Priority,
    Range,
    SourceError,
    Tick,
)
from quotes.settings import Settings
from workers.history import charts, gap_repair
from workers.history.charts import CLAIM, backoff
from workers.history.gap_filling import backfill_next, fill_gaps

MINUTE = timedelta(minutes=1)
NOW = minute(7) + timedelta(seconds=2)
LENGTHS = {
    Range.HOUR: (timedelta(hours=1), timedelta(seconds=6)),
    Range.DAY: (timedelta(days=1), MINUTE),
    Range.TWO_DAYS: (timedelta(days=2), 5 * MINUTE),
    Range.MONTH: (timedelta(days=30), timedelta(hours=1)),
    Range.YEAR: (timedelta(days=365), timedelta(days=1)),
    Range.ALL: (timedelta(days=700), timedelta(days=1)),
}


class Charts:
    """A source of whole charts, or of what `answer` makes of them."""

    name = "demo"

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now
        self.requests: Counter[tuple[str, Range]] = Counter()
        self.answer: Callable[[Chart], Chart] = lambda chart: chart
        self.pause = 0.0

    async def tick(
        self,
        ticker: str,
        minute: datetime,
        /,
        *,
        priority: Priority = Priority.LIVE,
        within: float = inf,
    ) -> Tick:
        raise NotImplementedError

    async def index_names(self) -> frozenset[str]:
        raise NotImplementedError

    async def index_chart(
        self, ticker: str, span: Range, *, priority: Priority = Priority.BACKFILL
    ) -> Chart:
        self.requests[ticker, span] += 1
        await asyncio.sleep(self.pause)
        length, step = LENGTHS[span]
        moments = (self.now - number * step for number in range(length // step))
        return self.answer(Chart([Point(at, Decimal(80_000)) for at in moments][::-1]))


@pytest.fixture
def source() -> Charts:
    return Charts()


async def states(sessions: Sessions, *tickers: str) -> list[Backfill]:
    async with sessions() as session:
        found = await backfills.of(session, tickers or ["btc_usd"])
    return sorted(found, key=lambda each: [*Range].index(Range(each.range)))


async def count(sessions: Sessions) -> int:
    async with sessions() as session:
        return (await session.exec(select(func.count(col(Quote.ticker))))).one()


def refuse(cause: Cause) -> Callable[[Chart], Chart]:
    def answer(chart: Chart) -> Chart:
        raise SourceError(cause, f"It is {cause}.")

    return answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda chart: Chart([]), "is empty"),
        (
            lambda chart: Chart([], Counter({"without a price": len(chart.points)})),
            "that cannot be used",
        ),
        (
            lambda chart: Chart(
                [Point(datetime(1970, 1, 21, tzinfo=UTC), each.price) for each in chart.points]
            ),
            "that cannot be used",
        ),
        (lambda chart: Chart(chart.points[len(chart.points) // 2 :]), "of 10 parts of its range"),
        (refuse(Cause.MAINTENANCE), "It is MAINTENANCE."),
    ],
    ids=["empty", "null", "seconds", "half", "refused"],
)
async def test_a_chart_that_is_not_whole_is_fetched_again_later_until_it_is(
    source: Charts,
    sessions: Sessions,
    answer: Callable[[Chart], Chart],
    reason: str,
) -> None:
    source.answer = answer
    await fill_gaps(["btc_usd"], source, sessions, now=NOW)
    await fill_gaps(["btc_usd"], source, sessions, now=NOW)  # not due yet

    # `all` cannot be received from a shorter life.
    found = [each for each in await states(sessions) if each.range != Range.ALL]
    assert {each.finished_at for each in found} == {None}
    assert all(reason in (each.reason or "") and each.attempts == 1 for each in found)
    assert set(source.requests.values()) == {1}

    source.answer = lambda chart: chart
    await fill_gaps(["btc_usd"], source, sessions, now=NOW + backoff(1) + MINUTE)

    assert all(each.finished_at and each.reason is None for each in await states(sessions))
    assert await charts.unfinished("btc_usd", sessions) == []
    async with sessions() as session:
        (first,) = await store.oldest(session, ["btc_usd"])
    assert first.minute > NOW - timedelta(days=701)


def test_the_pause_before_the_next_try_doubles_up_to_an_hour() -> None:
    found = [backoff(attempts) / MINUTE for attempts in (1, 2, 3, 6, 7, 8, 1_000)]

    assert found == [1, 2, 4, 32, 60, 60, 60]


async def test_an_index_that_began_in_the_middle_of_its_chart_is_finished_in_the_end(
    source: Charts, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "SHORT_ATTEMPTS", 2)
    source.answer = lambda chart: Chart(chart.points[len(chart.points) // 2 :])
    for hour in range(3):
        await fill_gaps(["btc_usd"], source, sessions, now=NOW + timedelta(hours=hour))
        source.now += timedelta(hours=1)

    assert await charts.unfinished("btc_usd", sessions) == []


async def test_an_unknown_index_is_requested_again_after_an_hour_and_once(
    source: Charts, sessions: Sessions
) -> None:
    source.answer = refuse(Cause.UNKNOWN_INDEX)
    await fill_gaps(["btc_usd"], source, sessions, now=NOW)
    for at in range(1, 58):
        await fill_gaps(["btc_usd"], source, sessions, now=NOW + at * MINUTE)

    assert source.requests.total() == 1

    await fill_gaps(["btc_usd"], source, sessions, now=NOW + 62 * MINUTE)

    assert source.requests.total() == 2


async def test_two_workers_fetch_each_chart_once(source: Charts, sessions: Sessions) -> None:
    tickers = [f"t{number}_usd" for number in range(8)]
    source.pause = 0.005

    await asyncio.gather(*(fill_gaps(tickers, source, sessions, now=NOW) for _ in range(2)))

    assert source.requests == {(ticker, span): 1 for ticker in tickers for span in Range}
    assert all(each.finished_at for each in await states(sessions, *tickers))


async def test_two_workers_repair_with_each_chart_once(source: Charts, sessions: Sessions) -> None:
    tickers = [f"t{number}_usd" for number in range(8)]
    async with sessions.begin() as session:
        await backfills.add(session, tickers, NOON)
    source.pause = 0.05

    found = await asyncio.gather(
        *(gap_repair.repair(tickers, source, sessions, now=NOW) for _ in range(2))
    )

    assert source.requests == {(ticker, Range.HOUR): 1 for ticker in tickers}
    assert sum(found) == 8 * 7  # from three minutes before noon to three before now
    assert {each.origin for each in await log(sessions)} == {Origin.REPAIRED}


async def test_the_chart_of_a_worker_that_was_killed_is_fetched_by_another_after_a_while(
    source: Charts, sessions: Sessions
) -> None:
    async with sessions.begin() as session:
        await backfills.add(session, ["btc_usd"], NOW)
        killed = await backfills.claim(session, ["btc_usd"], now=NOW, until=NOW + CLAIM)

    before = await backfill_next(["btc_usd"], source, sessions, now=NOW + CLAIM - MINUTE)
    after = await backfill_next(["btc_usd"], source, sessions, now=NOW + CLAIM)

    assert killed == ("btc_usd", Range.HOUR, NOW)
    assert before is None
    assert after
    assert after.span is Range.HOUR


async def test_the_finest_charts_of_all_tickers_come_before_any_coarser_one(
    source: Charts, sessions: Sessions
) -> None:
    tickers = ["a_usd", "b_usd", "c_usd"]

    await fill_gaps(tickers, source, sessions, now=NOW)

    assert [*source.requests] == [(ticker, span) for span in Range for ticker in tickers]


async def test_a_minute_missed_during_a_long_backfill_is_repaired_before_the_backfill_goes_on(
    source: Charts, sessions: Sessions
) -> None:
    tickers = ["btc_usd", *(f"t{number}_usd" for number in range(40))]
    async with sessions.begin() as session:
        await backfills.add(session, tickers, NOON)
    live = [quote(ticker, at) for ticker in tickers for at in range(-3, 8)]
    missed = ("btc_usd", minute(2))
    await insert(sessions, *(each for each in live if (each.ticker, each.minute) != missed))
    source.pause = 0.05

    await fill_gaps(tickers, source, sessions, now=NOW, seconds=0.3)

    (repaired,) = [each for each in await log(sessions) if each.origin == Origin.REPAIRED]
    assert (repaired.ticker, repaired.minute) == missed
    assert source.requests.total() < 20  # of 246: the next minute repairs first again


async def test_the_newest_gap_is_repaired_first(
    source: Charts, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gap_repair, "AT_ONCE", 1)
    async with sessions.begin() as session:
        await backfills.add(session, ["old_usd", "new_usd"], NOON)
    missing = {"old_usd": -1, "new_usd": 3}
    await insert(
        sessions,
        *(quote(ticker, at) for ticker, gap in missing.items() for at in range(-3, 8) if at != gap),
    )

    await gap_repair.repair(["old_usd", "new_usd"], source, sessions, now=NOW)

    assert [*source.requests] == [("new_usd", Range.HOUR), ("old_usd", Range.HOUR)]


async def test_a_gap_that_cannot_be_filled_takes_a_chart_in_five_minutes_only(
    source: Charts, sessions: Sessions
) -> None:
    async with sessions.begin() as session:
        await backfills.add(session, ["btc_usd"], NOON)
    await insert(sessions, *(quote(at=at) for at in range(-3, 60) if at != 2))
    source.answer = lambda chart: Chart([])

    for at in range(7, 37):
        await gap_repair.repair(["btc_usd"], source, sessions, now=NOW + at * MINUTE)

    assert source.requests == {("btc_usd", Range.HOUR): 6}


async def test_charts_that_are_not_whole_are_shown_with_their_ticker(
    source: Charts, sessions: Sessions, settings: Settings
) -> None:
    await insert(sessions, quote(at=-60))
    source.answer = lambda chart: Chart([], Counter({"without a price": 3}))
    await fill_gaps(["btc_usd"], source, sessions, now=NOW)
    shown = "{ tickers { name unfinishedCharts { range reason attempts leftOut dueAt } } }"

    async with serving(settings) as client:
        before, _ = await client.data(shown)
        source.answer = lambda chart: chart
        await fill_gaps(["btc_usd"], source, sessions, now=NOW + 2 * MINUTE)
        after, _ = await client.data(shown)

    assert [each["range"] for each in before["unfinishedCharts"]] == [*Range]
    first = before["unfinishedCharts"][0]
    assert first.pop("dueAt").startswith("2026-01-31T12:08:02")
    assert first == {
        "range": "1h",
        "reason": "has 3 points of 3 that cannot be used",
        "attempts": 1,
        "leftOut": 3,
    }
    assert (after["name"], after["unfinishedCharts"]) == ("btc_usd", [])
