"""Whole minutes of polling, against an exchange on a virtual clock: no test waits for its time."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
import structlog
import virtual_time
from rows import NOON, minute

from quotes.database.models import Quote
from quotes.market.sources import Cause, Priority, Range
from workers.exchange.clock import ExchangeClock
from workers.exchange.deribit import Deribit
from workers.exchange.pacing import Pace
from workers.polling import Missed, Outcome, Poller

EVERYTHING = [f"t{number}_usd" for number in range(278)]
UNKNOWN = '{"error":{"code":-32602,"message":"Invalid params"},"testnet":false}'
UNAVAILABLE = '{"error":{"code":13028,"message":"temporarily_unavailable"},"testnet":false}'
CHART = '{"result":[],"testnet":false}'
LIMITED = '{"error":{"code":10028,"message":"too_many_requests"},"testnet":false}'


def host_time() -> datetime:
    return NOON + timedelta(seconds=asyncio.get_running_loop().time())


@dataclass
class Answer:
    status: int
    content: Any


@dataclass
class Body:
    text: str

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self.text.encode()


@dataclass
class Exchange:
    """What stands behind the client's HTTP session."""

    latency: float = 0.05  # seconds
    ahead: timedelta = timedelta()  # of the host's clock
    hanging: set[str] = field(default_factory=set)
    slow: dict[str, float] = field(default_factory=dict)  # seconds
    bodies: dict[str, list[str]] = field(default_factory=dict)  # given once each, then prices
    unknown: set[str] = field(default_factory=set)
    bucket: float | None = None  # requests left, of 100, with 20 more each second
    requests: Counter[str] = field(default_factory=Counter)
    limited: int = 0
    filled_at: float = 0.0

    @asynccontextmanager
    async def get(
        self, url: str, *, params: Mapping[str, str], allow_redirects: bool
    ) -> AsyncIterator[Answer]:
        ticker = params["index_name"]
        self.requests[ticker] += 1
        limited = self._is_too_much()
        await asyncio.sleep(self.slow.get(ticker, self.latency))
        if ticker in self.hanging:
            await asyncio.Event().wait()
        text = self._price() if "range" not in params else CHART
        if ticker in self.unknown:
            text = UNKNOWN
        if self.bodies.get(ticker):
            text = self.bodies[ticker].pop(0)
        if limited:
            text = LIMITED
            self.limited += 1
        yield Answer(400 if "error" in text else 200, Body(text))

    def _price(self) -> str:
        return price_at(host_time() + self.ahead)

    def _is_too_much(self) -> bool:
        if self.bucket is None:
            return False
        now = asyncio.get_running_loop().time()
        self.bucket = min(100.0, self.bucket + (now - self.filled_at) * 20)
        self.filled_at = now
        self.bucket -= self.bucket >= 1
        return self.bucket < 1


def price_at(moment: datetime, price: float | None = 100.5) -> str:
    micros = (moment - datetime.fromisoformat("1970-01-01T00:00Z")) // timedelta(microseconds=1)
    return json.dumps({"result": {"index_price": price}, "usOut": micros, "testnet": False})


class Run:
    """The outcomes of minutes that begin one after the other, each on time."""

    def __init__(self, exchange: Exchange) -> None:
        self.source = Deribit(
            cast("Any", exchange), "https://www.deribit.com/api/v2", Pace(), host_time
        )
        self.clock = ExchangeClock(host_time)
        self.poller = Poller(self.source, self.clock)
        self.outcomes: dict[int, list[Outcome]] = {}
        self.ended: dict[int, float] = {}  # by the loop's clock

    async def minutes(self, numbers: Iterable[int], tickers: Sequence[str]) -> None:
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                await asyncio.sleep(max(0.0, 60.0 * number - asyncio.get_running_loop().time()))
                group.create_task(self.one(number, tickers))

    async def one(self, number: int, tickers: Sequence[str]) -> None:
        self.outcomes[number] = []
        async for batch in self.poller.poll(minute(number), tickers):
            self.outcomes[number] += batch
        self.ended[number] = asyncio.get_running_loop().time()

    def quoted(self, number: int) -> set[str]:
        return {each.ticker for each in self.outcomes[number] if isinstance(each, Quote)}

    def missed(self, number: int) -> list[Missed]:
        return [each for each in self.outcomes[number] if isinstance(each, Missed)]

    def causes(self, number: int) -> set[Cause]:
        return {each.error.cause for each in self.missed(number)}


def poll(
    exchange: Exchange,
    numbers: Iterable[int],
    tickers: Sequence[str] = EVERYTHING,
    *,
    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> Run:
    async def run() -> Run:
        run = Run(exchange)
        async with asyncio.TaskGroup() as group:
            group.create_task(run.minutes(numbers, tickers))
            if meanwhile is not None:
                group.create_task(meanwhile())
        return run

    return virtual_time.run(run)


@pytest.mark.parametrize(
    "hanging",
    [
        EVERYTHING[100:130],
        EVERYTHING[:277],
        EVERYTHING[1:],
        EVERYTHING[::2],
        EVERYTHING[:30],
    ],
    ids=["30 in the middle", "all but the last", "all but the first", "every other", "the first"],
)
def test_whichever_tickers_hang_every_healthy_one_has_its_quote_in_each_minute(
    hanging: list[str],
) -> None:
    run = poll(Exchange(hanging=set(hanging)), range(3))

    healthy = set(EVERYTHING) - set(hanging)
    assert [run.quoted(number) for number in range(3)] == [healthy] * 3
    assert all(run.ended[number] <= 60 * (number + 1) + 0.1 for number in range(3))
    assert all(run.causes(number) <= {Cause.TIMEOUT, Cause.NOT_ASKED} for number in range(3))


def test_tickers_that_hang_are_requested_less_and_come_back_once_they_answer() -> None:
    hanging = EVERYTHING[:200]
    exchange = Exchange(hanging=set(hanging))
    seen: list[int] = []

    async def recover() -> None:
        await asyncio.sleep(60 * 2 - 1)
        seen.append(sum(exchange.requests[each] for each in hanging))
        exchange.hanging.clear()

    run = poll(exchange, range(4), meanwhile=recover)

    assert seen[0] < 200 * 3
    assert run.quoted(2) == run.quoted(3) == set(EVERYTHING)
    assert run.missed(3) == []


@pytest.mark.parametrize("latency", [0.05, 0.6, 1.0, 1.9])
def test_all_tickers_of_a_slow_exchange_fit_into_their_minute(latency: float) -> None:
    run = poll(Exchange(latency=latency), range(2))

    assert run.quoted(0) == run.quoted(1) == set(EVERYTHING)


def test_a_ticker_that_is_slow_every_time_has_its_quote_and_delays_nobody() -> None:
    run = poll(Exchange(slow={EVERYTHING[0]: 3.0}), range(3))

    assert [run.quoted(number) for number in range(3)] == [set(EVERYTHING)] * 3


def test_a_bucket_of_100_requests_with_20_a_second_limits_none() -> None:
    exchange = Exchange(bucket=100.0)

    run = poll(exchange, range(4))

    assert exchange.limited == 0
    assert [run.quoted(number) for number in range(4)] == [set(EVERYTHING)] * 4


@pytest.mark.parametrize("seconds", [-30, -7, -1, -0.04, 0.04, 7, 30])
def test_clocks_that_differ_cost_no_quote(seconds: float) -> None:
    exchange = Exchange(ahead=timedelta(seconds=seconds))

    run = poll(exchange, range(4), ["btc_usd", "eth_usd"])

    assert [run.quoted(number) for number in range(4)] == [{"btc_usd", "eth_usd"}] * 4
    assert all(run.missed(number) == [] for number in range(4))
    assert exchange.requests["btc_usd"] <= 4 + (seconds < 0)  # once known, it waits for the minute
    quotes = [each for each in run.outcomes[3] if isinstance(each, Quote)]
    assert all(minute(3) <= each.observed_at < minute(4) for each in quotes)


@pytest.mark.parametrize("seconds", [-30, -7, 7, 30])
def test_clocks_that_differ_cost_no_quote_of_many_tickers(seconds: float) -> None:
    run = poll(Exchange(ahead=timedelta(seconds=seconds)), range(3))

    assert [run.quoted(number) for number in range(3)] == [set(EVERYTHING)] * 3


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-45, "45 seconds ahead of"), (65, "65 seconds behind"), (-3600, "3600 seconds ahead of")],
)
def test_a_difference_that_is_too_large_is_named_with_size_and_direction(
    seconds: float, words: str
) -> None:
    exchange = Exchange(ahead=timedelta(seconds=seconds))

    with structlog.testing.capture_logs() as logged:
        run = poll(exchange, range(3), ["btc_usd"])

    (missed,) = run.missed(2)
    assert missed.error.cause is Cause.OUTSIDE_MINUTE
    assert f"This host's clock is {words} the exchange's" in str(missed.error)
    assert exchange.requests["btc_usd"] == 6  # twice a minute
    (event,) = [each for each in logged if each["event"] == "clock_difference"]
    assert (event["seconds"], event["host_clock"]) == (
        abs(seconds),
        "behind" if seconds > 0 else "ahead",
    )
    assert not event["compensated"]


def test_a_difference_of_clocks_is_logged_when_it_begins_changes_and_ends() -> None:
    exchange = Exchange(ahead=timedelta(seconds=-7))

    async def drift() -> None:
        await asyncio.sleep(60 * 3 - 2)
        exchange.ahead = timedelta(seconds=-12)
        await asyncio.sleep(60 * 3)
        exchange.ahead = timedelta()

    with structlog.testing.capture_logs() as logged:
        poll(exchange, range(20), ["btc_usd", "eth_usd", "sol_usd"], meanwhile=drift)

    events = [(each["event"], each["seconds"]) for each in logged]
    assert events[0] == ("clock_difference", 7.0)
    assert ("clock_difference", 12.0) in events
    assert events[-1][0] == "clock_difference_ended"
    assert len(events) == 3


@pytest.mark.parametrize(
    "odd",
    [
        UNKNOWN,
        UNAVAILABLE,
        price_at(minute(0) + timedelta(hours=1)),
        price_at(minute(0) - timedelta(hours=1)),
        price_at(minute(1) + timedelta(seconds=1)),
        price_at(minute(0), None),
        price_at(minute(0), -1),
        price_at(minute(0)).replace("false", "true"),
        "<html>",
    ],
)
@pytest.mark.parametrize("number", [0, 2])
def test_one_odd_answer_ends_no_ticker_s_minute(odd: str, number: int) -> None:
    exchange = Exchange()

    async def confuse() -> None:
        await asyncio.sleep(max(0, 60 * number - 1))
        exchange.bodies["btc_usd"] = [odd]

    exchange.bodies["btc_usd"] = [] if number else [odd]
    run = poll(exchange, range(3), ["btc_usd", "eth_usd"], meanwhile=confuse if number else None)

    assert [run.quoted(each) for each in range(3)] == [{"btc_usd", "eth_usd"}] * 3
    assert Cause.UNKNOWN_INDEX not in run.causes(number)
    assert Cause.OUTSIDE_MINUTE not in run.causes(number)


def test_an_index_that_is_gone_is_requested_rarely_and_comes_back_by_itself() -> None:
    exchange = Exchange(unknown={"gone_usd"})

    async def come_back() -> None:
        await asyncio.sleep(60 * 60 * 3)
        exchange.unknown.clear()

    run = poll(exchange, range(60 * 7), ["btc_usd", "gone_usd"], meanwhile=come_back)

    failures = [number for number in range(60 * 7) if run.missed(number)]
    assert failures[:3] in ([0, 6, 16], [0, 6, 17])  # five minutes later, then ten
    assert len(failures) < 15
    assert {each for number in failures for each in run.causes(number)} == {Cause.UNKNOWN_INDEX}
    back = [number for number in range(60 * 7) if "gone_usd" in run.quoted(number)]
    assert back == list(range(back[0], 60 * 7))
    assert back[0] <= 60 * 6
    assert all("btc_usd" in run.quoted(number) for number in range(60 * 7))


def test_an_index_that_is_listed_again_is_requested_in_the_next_minute() -> None:
    exchange = Exchange(unknown={"gone_usd"})

    async def minutes() -> Run:
        run = Run(exchange)
        for number in range(60):
            if number == 40:
                exchange.unknown.clear()
                run.poller.resume(["gone_usd", "new_usd"])
            await run.minutes([number], ["btc_usd", "gone_usd"])
        return run

    run = virtual_time.run(minutes)

    quoted = [number for number in range(60) if "gone_usd" in run.quoted(number)]
    assert quoted == list(range(40, 60))


@pytest.mark.parametrize("latency", [0.05, 0.3, 0.6])
def test_charts_of_hundreds_of_tickers_delay_no_live_price_and_limit_none(latency: float) -> None:
    exchange = Exchange(latency=latency, bucket=100.0)
    charts = Counter[Priority]()

    async def fetch(source: Deribit, priority: Priority) -> None:
        for number in itertools.count():
            await source.index_chart(f"new{number}_usd", Range.HOUR, priority=priority)
            charts[priority] += 1

    async def minutes() -> Run:
        run = Run(exchange)
        both = [Priority.REPAIR] * 4 + [Priority.BACKFILL] * 2  # as many as there are at most
        fetching = [asyncio.create_task(fetch(run.source, priority)) for priority in both]
        await run.minutes(range(4), EVERYTHING)
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)
        return run

    run = virtual_time.run(minutes)

    assert exchange.limited == 0
    assert [run.quoted(number) for number in range(4)] == [set(EVERYTHING)] * 4
    # What is in flight already is all that a live price ever waits for.
    assert all(run.ended[number] - 60 * number < 26 for number in range(4))
    assert charts[Priority.REPAIR] > 100


def test_a_failed_ticker_is_requested_again_later_and_later_within_its_minute() -> None:
    exchange = Exchange(bodies={"btc_usd": [UNAVAILABLE] * 4})

    run = poll(exchange, [0], ["btc_usd", "eth_usd"])

    assert run.quoted(0) == {"btc_usd", "eth_usd"}
    assert 0.75 * 15 < run.ended[0] < 1.25 * 15 + 1


def test_a_minute_that_is_over_requests_nothing() -> None:
    exchange = Exchange()

    async def late() -> Run:
        run = Run(exchange)
        await run.one(0, ["btc_usd"])
        await asyncio.sleep(180)
        await run.one(1, EVERYTHING)
        return run

    run = virtual_time.run(late)

    assert run.outcomes[1] == []
    assert exchange.requests.total() == 1


def test_a_minute_that_is_over_takes_a_few_requests_where_the_exchange_s_clock_is_not_known() -> (
    None
):
    exchange = Exchange()

    async def late() -> Run:
        run = Run(exchange)
        await asyncio.sleep(180)
        await run.one(1, EVERYTHING)
        return run

    run = virtual_time.run(late)

    assert exchange.requests.total() < 20  # what is sent in a second
    assert run.quoted(1) == set()


def test_a_turn_that_did_not_come_is_not_blamed_on_the_exchange() -> None:
    names = [f"x{number}_usd" for number in range(3_000)]

    run = poll(Exchange(), [0], names)

    assert len(run.quoted(0)) > 600
    assert {*run.quoted(0), *(each.ticker for each in run.missed(0))} == set(names)
    assert run.causes(0) == {Cause.NOT_ASKED}


def test_a_poller_that_is_stopped_ends_at_once_and_blames_nobody() -> None:
    exchange = Exchange(hanging={"btc_usd"})

    async def stop() -> Run:
        run = Run(exchange)
        polling = asyncio.create_task(run.one(0, ["btc_usd", "eth_usd"]))
        await asyncio.sleep(1)
        run.poller.stop()
        await polling
        return run

    run = virtual_time.run(stop)

    assert run.ended[0] == 1
    assert run.quoted(0) == {"eth_usd"}
    assert run.missed(0) == []
