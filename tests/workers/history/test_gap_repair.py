"""Outages of every part, half an hour long, and what is left of them an hour later."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from client import serving
from processes import send_fill_gaps, worker
from rows import NOON, insert, log, minute, quote, wait

from quotes.api.history import gaps
from quotes.database import backfills
from quotes.database.errors import UnavailableError
from quotes.database.log import store
from quotes.database.models import Backfill, Origin
from quotes.database.sessions import Sessions, open_engine
from quotes.live.thread import Thread
from quotes.market.coverage import MINUTE
from quotes.market.sources import Range
from quotes.settings import Settings
from workers import attempts, collecting
from workers.collecting import Collector
from workers.demo.exchange import Exchange, Fault, serve
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace
from workers.history.gap_filling import fill_gaps
from workers.history.gap_repair import repair

OUTAGE = range(10, 40)  # minutes after noon


class Clock:
    """The exchange's and ours, two seconds past a minute after noon."""

    def __init__(self) -> None:
        self.minute = 0

    def __call__(self) -> datetime:
        return minute(self.minute) + timedelta(seconds=2)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def exchange(clock: Clock) -> Exchange:
    return Exchange(clock=clock)


@pytest.fixture
async def source(exchange: Exchange) -> AsyncIterator[Deribit]:
    async with serve(exchange) as url, open_http(url) as http:
        yield Deribit(http, url, Pace(rate=1_000))


@pytest.fixture(autouse=True)
def _one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed ticker's minute is not waited for."""
    monkeypatch.setattr(attempts, "FIRST_DELAY", 120)
    monkeypatch.setattr(attempts, "LONGEST_DELAY", 120)


async def finish(sessions: Sessions, at: datetime) -> None:
    """As after a first start at that time, without its history."""
    for span in Range:
        async with sessions.begin() as session:
            done = Backfill(ticker="btc_usd", range=span, added_at=at, finished_at=at, due_at=at)
            await backfills.record(session, done)


async def read_gaps(sessions: Sessions, since: int, until: int) -> gaps.Gaps:
    span = store.Span("btc_usd", minute(since), minute(until))
    return await gaps.read(sessions, Thread(), span, 1_000, datetime.now(UTC))


@pytest.mark.parametrize("part", ["exchange", "worker or broker", "database"])
async def test_half_an_hour_s_outage_leaves_no_gap_an_hour_later(  # noqa: PLR0913, PLR0917
    clock: Clock,
    exchange: Exchange,
    source: Deribit,
    sessions: Sessions,
    part: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collecting, "STORE_RETRY", 0)
    await finish(sessions, minute(3))
    async with open_engine("postgresql://nobody@127.0.0.1:1/none", name="test") as nowhere:
        for clock.minute in range(100):
            out = clock.minute in OUTAGE
            exchange.faults = {"btc_usd": Fault.HTTP_502} if out and part == "exchange" else {}
            if out and part == "worker or broker":
                continue
            unavailable = out and part == "database"
            target = Sessions(nowhere) if unavailable else sessions
            monkeypatch.setattr(collecting, "STORE_TIMEOUT", 0.01 if unavailable else 45)
            try:
                await Collector(source, target).collect(minute(clock.minute), ["btc_usd"])
                await fill_gaps(["btc_usd"], source, target, now=clock())
            except UnavailableError:
                assert part == "database"

    found = await read_gaps(sessions, 0, 97)
    assert (found.missing, found.coverage) == (0, 1.0)
    (gap,) = found.nodes
    assert (gap.since, gap.until, gap.repaired) == (minute(10), minute(40), True)
    assert gap.cause == ("UNAVAILABLE" if part == "exchange" else "NOT_ASKED")
    repaired = [each for each in await log(sessions) if each.origin == Origin.REPAIRED]
    assert sorted(each.minute for each in repaired) == [minute(at) for at in OUTAGE]


async def test_a_longer_outage_is_filled_from_the_longer_charts(
    clock: Clock, source: Deribit, sessions: Sessions
) -> None:
    await finish(sessions, NOON - 5 * MINUTE)
    await insert(sessions, quote(at=0))
    clock.minute = 30 * 60  # a day and six hours later

    await fill_gaps(["btc_usd"], source, sessions, now=clock())

    found = await read_gaps(sessions, 0, clock.minute - 3)
    # The stand-in's last day has a point each minute, the day before one every five.
    assert found.missing == (30 - 24) * 60 * 4 // 5
    assert {gap.cause for gap in found.nodes} == {"NOT_ASKED"}


async def test_what_the_exchange_cannot_fill_stays_a_gap_with_its_cause(
    clock: Clock, exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    await finish(sessions, NOON - 5 * MINUTE)
    exchange.faults["btc_usd"] = Fault.MAINTENANCE
    for clock.minute in range(8):
        await Collector(source, sessions).collect(minute(clock.minute), ["btc_usd"])
        await repair(["btc_usd"], source, sessions, now=clock())

    (gap,) = (await read_gaps(sessions, 0, 8)).nodes
    assert (gap.minutes, gap.cause, gap.repaired) == (8, "MAINTENANCE", False)


async def test_minutes_from_before_the_first_start_are_the_backfill_s_to_fill(
    clock: Clock, source: Deribit, sessions: Sessions
) -> None:
    clock.minute = 10

    before = await repair(["btc_usd"], source, sessions, now=clock())
    await finish(sessions, minute(8))
    after = await repair(["btc_usd"], source, sessions, now=clock())

    assert (before, after) == (0, 2)
    assert [each.minute for each in await log(sessions)] == [minute(5), minute(6)]


async def test_nothing_is_requested_of_the_exchange_where_nothing_is_missing(
    clock: Clock, exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    await finish(sessions, NOON)
    await insert(sessions, *(quote(at=at) for at in range(-3, 7)))
    clock.minute = 10
    exchange.faults["btc_usd"] = Fault.TIMEOUT  # would hang

    async with asyncio.timeout(9):
        assert await repair(["btc_usd"], source, sessions, now=clock()) == 0


async def test_a_worker_fills_what_was_missed_and_subscribers_see_it(
    settings: Settings, sessions: Sessions
) -> None:
    now = datetime.now(UTC)
    first, last = ((now - NOON) // MINUTE - ago for ago in (55, 10))
    await finish(sessions, now - timedelta(hours=1))
    await insert(sessions, *(quote(at=at) for at in (first, last)))
    async with serve(Exchange()) as url:
        here = settings.model_copy(update={"deribit_url": url, "tickers": ("btc_usd",)})
        async with (
            serving(here) as client,
            client.subscription("subscription { priceUpdates { origin } }") as updates,
            worker(here),
        ):
            await updates.next()
            send_fill_gaps(here)
            streamed = await updates.next()
            found = await wait(
                lambda: read_gaps(sessions, first, last), lambda found: not found.missing
            )

    assert streamed == {"origin": "REPAIRED"}
    assert found.repaired == last - first - 1
