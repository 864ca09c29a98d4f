"""An index for which the exchange makes no price: never a fresh price, told as what it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
import structlog
from client import serving
from planning import planning
from rows import minute, until, wait

from quotes.api.history import gaps
from quotes.api.plans.plans import Plans
from quotes.database import backfills
from quotes.database.log import store
from quotes.database.models import Backfill
from quotes.database.sessions import Sessions
from quotes.live.thread import Thread
from quotes.market.sources import Cause, Range, Retry, SourceError
from quotes.server.monitoring import health
from quotes.settings import Settings
from workers import attempts
from workers.collecting import Collector
from workers.demo.exchange import Exchange, Fault, serve
from workers.exchange import streamed
from workers.exchange.clock import ExchangeClock
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace
from workers.exchange.streamed import StreamedDeribit, open_streamed
from workers.history import charts
from workers.history.gap_repair import repair

HALTED, MINUTES = range(3, 20), 23  # minutes after noon, and how many in all
BOTH = ["btc_usd", "eth_usd"]


class Clock:
    """The exchange's and ours, some seconds past a minute after noon."""

    def __init__(self) -> None:
        self.minute, self.seconds = 0, 2

    def __call__(self) -> datetime:
        return minute(self.minute) + timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute without a price is not waited for, and nothing known of locks is old enough."""
    monkeypatch.setattr(attempts, "FIRST_DELAY", 120)
    monkeypatch.setattr(attempts, "LONGEST_DELAY", 120)
    monkeypatch.setattr(streamed, "WAIT", 0.2)
    monkeypatch.setattr(streamed, "STATUS_AGE", -1.0)


@asynccontextmanager
async def opened(exchange: Exchange, clock: Clock) -> AsyncIterator[StreamedDeribit]:
    async with serve(exchange) as url, open_http(url) as http:
        requests = Deribit(http, url, Pace(rate=1_000), clock)
        async with open_streamed(http, url, requests) as source:
            source._socket._now = clock
            yield source


async def added(sessions: Sessions) -> None:
    """As after a first start: what is missing from noon on is to be repaired."""
    for ticker in BOTH:
        for span in Range:
            at = minute(0) + charts.SETTLED
            done = Backfill(ticker=ticker, range=span, added_at=at, finished_at=at, due_at=at)
            async with sessions.begin() as session:
                await backfills.record(session, done)


@pytest.mark.parametrize(
    ("cause", "by_socket"),
    # By HTTP alone a price has no time of its own, so none is known to be frozen.
    [(Cause.LOCKED, True), (Cause.LOCKED, False), (Cause.FROZEN, True)],
)
async def test_a_price_that_is_pinned_for_17_minutes_is_never_fresh_and_its_minutes_are_a_gap(
    clock: Clock, settings: Settings, sessions: Sessions, cause: Cause, *, by_socket: bool
) -> None:
    await added(sessions)
    exchange = Exchange(clock=clock, sockets=by_socket, every=0.02)
    stale: list[bool] = []
    with structlog.testing.capture_logs() as logged:
        async with opened(exchange, clock) as source, planning(settings, now=clock) as plans:
            collector = Collector(source, sessions, ExchangeClock(clock))
            for clock.minute in range(MINUTES):
                clock.seconds = 2
                if by_socket:
                    await brought(source, clock.minute, cause)
                await collector.collect(minute(clock.minute), BOTH)
                await repair(BOTH, source, sessions, now=clock())
                clock.seconds = 59
                stale.append(await is_stale(plans, sessions))
                if clock.minute + 1 in HALTED:
                    exchange.prices["btc_usd"] = "100.5"
                    exchange.faults["btc_usd"] = Fault(cause.value)
                    await until(lambda: not by_socket or halts(exchange, source, cause))
                else:
                    exchange.faults.clear()

    # From its first minute without a price, and until there is a new one.
    assert stale == [number in HALTED for number in range(MINUTES)]
    found = await read_gaps(sessions, "btc_usd", clock())
    (gap,) = found.nodes
    assert (gap.since, gap.until) == (minute(HALTED[0]), minute(HALTED[-1] + 1))
    assert (gap.cause.value, gap.repaired) == (cause.value, False)
    assert (await read_gaps(sessions, "eth_usd", clock())).missing == 0
    assert exchange.requests["get_index_chart_data"] == 0
    assert [
        (each["event"], each["cause"], each["tickers"])
        for each in logged
        if each["event"].startswith("tickers_halted")
    ] == [
        ("tickers_halted", cause.value, ["btc_usd"]),
        ("tickers_halted_ended", cause.value, ["btc_usd"]),
    ]
    assert all(each["missed"] == {} for each in logged if each["event"] == "minute_collected")


async def is_stale(plans: Plans, sessions: Sessions) -> bool:
    async with sessions() as session:
        await plans.context.feed.reach(await store.high_water(session))
        plans.context.collection.see(await store.last_failures(session, BOTH))
    answer = await plans.answer('{ latestPrice(ticker: "BTC") { stale } }', None, None)
    assert answer is not None
    return answer.body == b'{"data":{"latestPrice":{"stale":true}}}'


def halts(exchange: Exchange, source: StreamedDeribit, cause: Cause) -> bool:
    if cause is Cause.FROZEN:
        return "btc_usd" in exchange._frozen
    return "btc_usd" in (source._socket.locked or ())


async def brought(source: StreamedDeribit, number: int, cause: Cause) -> None:
    """Wait until the socket has brought what there is to know of this minute."""
    halted = number in HALTED
    await until(lambda: cause is not Cause.LOCKED or is_locked(source) is halted)
    for ticker in BOTH[halted:]:
        prices = source._socket.follow(ticker)
        await until(lambda: prices.first(minute(number)) is not None)  # noqa: B023  # in this round


def is_locked(source: StreamedDeribit) -> bool:
    return "btc_usd" in (source._socket.locked or ())


async def read_gaps(sessions: Sessions, ticker: str, now: datetime) -> gaps.Gaps:
    span = store.Span(ticker, minute(0), minute(MINUTES - 1))
    return await gaps.read(sessions, Thread(), span, 100, now)


async def test_a_halted_ticker_shows_its_cause_in_every_place(
    clock: Clock, settings: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECK_EVERY", 0.05)
    exchange = Exchange(clock=clock)
    exchange.faults["btc_usd"] = Fault.LOCKED
    async with opened(exchange, clock) as source, serving(settings) as client:
        await Collector(source, sessions, ExchangeClock(clock)).collect(minute(0), BOTH)
        _, report = await wait(
            lambda: client.report("/readyz"), lambda found: "LOCKED" in str(found[1])
        )
        tickers = await client.data("{ tickers { name staleReason lastFailure { cause } } }")

    reason = "btc_usd: the exchange has locked this index."
    assert report["tickers"]["btc_usd"] == {"fresh": False, "cause": "LOCKED", "reason": reason}
    assert tickers[0] == {
        "name": "btc_usd",
        "staleReason": reason,
        "lastFailure": {"cause": "LOCKED"},
    }


async def test_what_is_known_of_locks_stays_while_the_exchange_does_not_tell(
    clock: Clock, sessions: Sessions
) -> None:
    exchange = Exchange(clock=clock)
    exchange.faults["btc_usd"] = Fault.LOCKED
    async with opened(exchange, clock) as source:
        with pytest.raises(SourceError, match="has locked this index"):
            await source.tick("btc_usd", minute(0))
        exchange.answers["status"] = "null"
        with pytest.raises(SourceError, match="has locked this index"):
            await source.tick("btc_usd", minute(0))
        del exchange.answers["status"]
        exchange.faults.clear()
        assert await source.tick("btc_usd", minute(0))


async def test_a_price_that_has_rested_for_long_is_looked_for_less_often(
    clock: Clock, sessions: Sessions
) -> None:
    exchange = Exchange(clock=clock, sockets=True, every=0.02)
    async with opened(exchange, clock) as source:
        await brought(source, 0, Cause.FROZEN)
        exchange.faults["btc_usd"] = Fault.FROZEN
        await until(lambda: "btc_usd" in exchange._frozen)
        retries = []
        for clock.minute in (1, 2):
            prices, now = source._socket.follow("eth_usd"), minute(clock.minute)
            await until(lambda: prices.first(now) is not None)  # noqa: B023  # in this round
            with pytest.raises(SourceError) as failed:
                await source.tick("btc_usd", now)
            retries.append((failed.value.cause, failed.value.retry))

    assert retries == [(Cause.FROZEN, Retry.SOON), (Cause.FROZEN, Retry.SLOWLY)]


async def test_an_index_that_the_exchange_does_not_know_is_named_once_however_often_it_is_asked_for(
    clock: Clock, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "CONFIRM_DELAY", 0.01)
    exchange = Exchange(clock=clock)
    names = ["btc_usd", "nosuch_usd"]
    with structlog.testing.capture_logs() as logged:
        async with opened(exchange, clock) as source:
            collector = Collector(source, sessions, ExchangeClock(clock))
            for clock.minute in range(6):
                if clock.minute in {2, 4}:
                    collector.resume(names)  # as after an hour
                if clock.minute == 4:
                    exchange.prices["nosuch_usd"] = "1.5"
                await collector.collect(minute(clock.minute), names)

    assert exchange.price_requests["nosuch_usd"] == 2 + 2 + 2  # each of the first is confirmed
    lines = [each for each in logged if "nosuch_usd" in str(each)]
    assert [(each["event"], each["cause"]) for each in lines] == [
        ("tickers_halted", "UNKNOWN_INDEX"),
        ("tickers_halted_ended", "UNKNOWN_INDEX"),
    ]
