"""One minute's collection, against the stand-in exchange and a real database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog
from rows import failure, insert, log, logged, minute, names, quote, until, wait

from quotes.database import minutes
from quotes.database.log import store
from quotes.database.models import Failure
from quotes.database.sessions import Sessions, open_engine
from quotes.market.sources import Cause, Tick
from workers.collecting import Collector, minute_of
from workers.demo.exchange import Exchange, Fault, serve
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace

BOTH = ["btc_usd", "eth_usd"]


@pytest.fixture
def exchange() -> Exchange:
    """The stand-in, whose clock stands at two seconds past noon."""
    return Exchange(clock=lambda: minute(0) + timedelta(seconds=2))


@pytest.fixture
async def source(exchange: Exchange) -> AsyncIterator[Deribit]:
    async with serve(exchange) as url, open_http(url) as http:
        yield Deribit(http, url, Pace(rate=1_000))


@asynccontextmanager
async def collecting(collector: Collector, *tickers: str) -> AsyncIterator[None]:
    """Meanwhile the first minute is collected, until it is stopped."""
    collection = asyncio.create_task(collector.collect(minute(0), tickers))
    yield
    collector.stop()
    await collection


async def failures(sessions: Sessions, ticker: str) -> list[Failure]:
    async with sessions() as session:
        return list(await store.last_failures(session, [ticker]))


async def failure_of(sessions: Sessions, ticker: str) -> Failure:
    (found,) = await wait(lambda: failures(sessions, ticker), bool)
    return found


async def test_a_minute_is_collected_with_the_exchange_s_own_digits_and_clock(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    exchange.prices |= {"btc_usd": "81110.428333", "eth_usd": "3000"}

    await Collector(source, sessions).collect(minute(0), BOTH)

    stored = await log(sessions)
    assert {each.ticker: each.price for each in stored} == {
        "btc_usd": Decimal("81110.428333"),
        "eth_usd": Decimal(3000),
    }
    assert {each.observed_at for each in stored} == {minute(0) + timedelta(seconds=2)}
    assert {each.source for each in stored} == {"demo"}
    assert not any(each.exact_time for each in stored)  # they are of an answer over HTTP


class Telling(Deribit):
    """One whose prices come with their own times, as over the WebSocket."""

    async def tick(self, ticker: str, *words: Any, **options: Any) -> Tick:
        return replace(await super().tick(ticker, *words, **options), exact_time=True)


async def test_a_quote_keeps_that_its_time_is_the_price_s_own(
    exchange: Exchange, sessions: Sessions
) -> None:
    async with serve(exchange) as url, open_http(url) as http:
        source = Telling(http, url, Pace(rate=1_000))
        await Collector(source, sessions).collect(minute(0), BOTH)

    assert [each.exact_time for each in await log(sessions)] == [True, True]


async def test_made_up_prices_are_not_collected_among_real_ones(
    source: Deribit, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=-1, source="deribit"))

    with structlog.testing.capture_logs() as said:
        await Collector(source, sessions).collect(minute(0), BOTH)

    assert names(await log(sessions)) == [("btc_usd", -1)]
    (line,) = [each for each in said if each["event"] == "quotes_refused"]
    assert "would mix" in line["reason"]


async def test_the_same_minute_collected_twice_changes_nothing(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    await Collector(source, sessions).collect(minute(0), BOTH)
    before = await log(sessions)
    exchange.prices["btc_usd"] = "1"

    await Collector(source, sessions).collect(minute(0), BOTH)

    assert await log(sessions) == before
    assert exchange.price_requests == {"btc_usd": 1, "eth_usd": 1}


async def test_only_what_a_minute_lacks_is_requested_however_late_its_message_comes(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    await insert(sessions, quote("btc_usd"))
    exchange.clock = lambda: minute(2)

    await Collector(source, sessions).collect(minute(0), BOTH)

    assert exchange.price_requests["btc_usd"] == 0
    assert await failures(sessions, "btc_usd") == []
    assert {each.cause for each in await failures(sessions, "eth_usd")} == {Cause.OUTSIDE_MINUTE}


async def test_a_failure_is_not_recorded_for_a_minute_that_has_its_quote(
    sessions: Sessions,
) -> None:
    await insert(sessions, quote("btc_usd"))

    for name in BOTH:
        async with sessions.begin() as session:
            late = failure("OUTSIDE_MINUTE").model_copy(
                update={"ticker": name, "minute": minute(0)}
            )
            await minutes.record_failures(session, [late])

    assert await failures(sessions, "btc_usd") == []
    assert len(await failures(sessions, "eth_usd")) == 1


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault.UNKNOWN_INDEX, Cause.UNKNOWN_INDEX),
        (Fault.RATE_LIMITED, Cause.RATE_LIMITED),
        (Fault.HTTP_429, Cause.RATE_LIMITED),
        (Fault.HTTP_502, Cause.UNAVAILABLE),
        (Fault.TIMEOUT, Cause.TIMEOUT),
        (Fault.INVALID_JSON, Cause.BAD_ANSWER),
        (Fault.NULL, Cause.NO_PRICE),
        (Fault.ZERO, Cause.BAD_PRICE),
        (Fault.NEGATIVE, Cause.BAD_PRICE),
        (Fault.NAN, Cause.BAD_PRICE),
        (Fault.WRONG_TESTNET, Cause.WRONG_ENVIRONMENT),
        (Fault.MAINTENANCE, Cause.MAINTENANCE),
        (Fault.DISCONNECT, Cause.UNREACHABLE),
        (Fault.HUGE, Cause.BAD_ANSWER),
        (Fault.REDIRECT, Cause.BAD_ANSWER),
    ],
)
async def test_one_ticker_s_failure_is_its_own_and_is_recorded_with_its_cause(
    exchange: Exchange, source: Deribit, sessions: Sessions, fault: Fault, cause: Cause
) -> None:
    exchange.faults["btc_usd"] = fault

    async with collecting(Collector(source, sessions), *BOTH, "sol_usd"):
        recorded = await failure_of(sessions, "btc_usd")
        quotes = await logged(sessions, 2)

    assert {each.ticker for each in quotes} == {"eth_usd", "sol_usd"}
    assert (recorded.cause, recorded.minute) == (cause, minute(0))
    assert "btc_usd" in recorded.message
    assert "127.0.0.1" not in recorded.message


@pytest.mark.parametrize("fault", [Fault.SCIENTIFIC, Fault.INT])
async def test_a_number_written_unusually_is_a_price_like_any_other(
    exchange: Exchange, source: Deribit, sessions: Sessions, fault: Fault
) -> None:
    exchange.faults["btc_usd"] = fault

    await Collector(source, sessions).collect(minute(0), BOTH)

    assert len(await log(sessions)) == 2


async def test_a_ticker_that_hangs_does_not_hold_back_the_others(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    exchange.faults["btc_usd"] = Fault.TIMEOUT

    async with collecting(Collector(source, sessions), *BOTH):
        assert names(await logged(sessions, 1)) == [("eth_usd", 0)]
        assert await failures(sessions, "btc_usd") == []  # that comes later


async def test_a_collection_that_is_stopped_returns_what_is_still_missing(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    exchange.faults["btc_usd"] = Fault.HTTP_502
    collector = Collector(source, sessions)
    collection = asyncio.create_task(collector.collect(minute(0), BOTH))
    await failure_of(sessions, "btc_usd")

    collector.stop()

    assert await collection == ["btc_usd"]


@pytest.mark.parametrize("seconds", [-60, 60, 3600])
async def test_a_price_from_outside_the_minute_is_not_that_minute_s(
    exchange: Exchange, source: Deribit, sessions: Sessions, seconds: int
) -> None:
    exchange.clock = lambda: minute(0) + timedelta(seconds=seconds)

    await Collector(source, sessions).collect(minute(0), BOTH)

    assert await log(sessions) == []
    recorded = await failure_of(sessions, "btc_usd")
    assert recorded.cause == Cause.OUTSIDE_MINUTE
    assert "clock" in recorded.message


async def test_a_database_that_is_away_is_logged_once_and_when_it_is_back(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    away = "postgresql://quotes@127.0.0.1:1/quotes"
    async with open_engine(away, name="test") as engine:
        collector = Collector(source, Sessions(engine))
        with structlog.testing.capture_logs() as logged:
            collection = asyncio.create_task(collector.collect(minute(0), BOTH))
            await until(lambda: exchange.price_requests.total() == 2)
            collector._sessions = sessions
            await collection

    events = [each["event"] for each in logged if each["event"].startswith("database")]
    assert events == ["database_unavailable", "database_available"]
    assert len(await log(sessions)) == 2


def test_a_message_s_minute_is_whole_and_in_utc() -> None:
    assert minute_of("2026-01-31 13:00:59.9+01:00") == datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    with pytest.raises(ValueError, match="time zone"):
        minute_of("2026-01-31T12:00:00")
