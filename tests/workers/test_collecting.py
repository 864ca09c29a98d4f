"""One minute's collection, against the stand-in exchange and a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import structlog
from rows import keep, log, minute, names, quote

from quotes.database import store
from quotes.database.models import Failure
from quotes.market.sources import Cause, Retry, SourceError
from workers import collecting
from workers.collecting import Missed, minute_of
from workers.demo import Exchange, Fault, serve
from workers.deribit import Deribit, open_http
from workers.pacing import Pace

BOTH = ["btc_usd", "eth_usd"]


@pytest.fixture
def exchange() -> Exchange:
    """The stand-in, whose clock stands at two seconds past noon."""
    return Exchange(clock=lambda: minute(0) + timedelta(seconds=2))


@pytest.fixture
async def source(exchange: Exchange) -> AsyncIterator[Deribit]:
    async with serve(exchange) as url, open_http(url) as http:
        yield Deribit(http, url, Pace(rate=1_000))


async def failure_of(sessions: store.Sessions, ticker: str) -> Failure:
    async with sessions() as session:
        (failure,) = await store.last_failures(session, [ticker])
    return failure


async def test_a_minute_is_collected_with_the_exchange_s_own_digits_and_clock(
    exchange: Exchange, source: Deribit, sessions: store.Sessions
) -> None:
    exchange.prices |= {"btc_usd": "81110.428333", "eth_usd": "3000"}

    missed = await collecting.collect(minute(0), BOTH, source, sessions)

    kept = await log(sessions)
    assert missed == []
    assert {each.ticker: each.price for each in kept} == {
        "btc_usd": Decimal("81110.428333"),
        "eth_usd": Decimal(3000),
    }
    assert {each.observed_at for each in kept} == {minute(0) + timedelta(seconds=2)}
    assert {each.source for each in kept} == {"demo"}


async def test_made_up_prices_are_not_collected_among_real_ones(
    source: Deribit, sessions: store.Sessions
) -> None:
    await keep(sessions, quote(at=-1, source="deribit"))

    with structlog.testing.capture_logs() as said:
        missed = await collecting.collect(minute(0), BOTH, source, sessions)

    assert missed == []  # asking again would not help
    assert names(await log(sessions)) == [("btc_usd", -1)]
    (line,) = [each for each in said if each["log_level"] == "error"]
    assert "would mix" in line["reason"]


async def test_the_same_minute_collected_twice_changes_nothing(
    exchange: Exchange, source: Deribit, sessions: store.Sessions
) -> None:
    await collecting.collect(minute(0), BOTH, source, sessions)
    before = await log(sessions)
    exchange.prices["btc_usd"] = "1"

    await collecting.collect(minute(0), BOTH, source, sessions)

    assert await log(sessions) == before


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
    exchange: Exchange, source: Deribit, sessions: store.Sessions, fault: Fault, cause: Cause
) -> None:
    exchange.faults["btc_usd"] = fault

    (missed,) = await collecting.collect(minute(0), [*BOTH, "sol_usd"], source, sessions)

    assert (missed.ticker, missed.error.cause) == ("btc_usd", cause)
    assert {each.ticker for each in await log(sessions)} == {"eth_usd", "sol_usd"}
    failure = await failure_of(sessions, "btc_usd")
    assert (failure.cause, failure.minute) == (cause, minute(0))
    assert "btc_usd" in failure.message


@pytest.mark.parametrize("fault", [Fault.SCIENTIFIC, Fault.INT])
async def test_a_number_written_unusually_is_a_price_like_any_other(
    exchange: Exchange, source: Deribit, sessions: store.Sessions, fault: Fault
) -> None:
    exchange.faults["btc_usd"] = fault

    assert await collecting.collect(minute(0), BOTH, source, sessions) == []


async def test_a_ticker_that_hangs_does_not_hold_back_the_others(
    exchange: Exchange, source: Deribit, sessions: store.Sessions
) -> None:
    exchange.faults["btc_usd"] = Fault.TIMEOUT
    collection = asyncio.create_task(collecting.collect(minute(0), BOTH, source, sessions))

    async with asyncio.timeout(20):
        while names(await log(sessions)) != [("eth_usd", 0)]:
            assert not collection.done()

    exchange.faults.clear()
    await collection


@pytest.mark.parametrize("seconds", [-6, 60, 3600])
async def test_a_price_from_outside_the_minute_is_not_that_minute_s(
    exchange: Exchange, source: Deribit, sessions: store.Sessions, seconds: int
) -> None:
    exchange.clock = lambda: minute(0) + timedelta(seconds=seconds)

    missed = await collecting.collect(minute(0), BOTH, source, sessions)

    assert {each.error.cause for each in missed} == {Cause.OUTSIDE_MINUTE}
    assert await log(sessions) == []
    assert "clock" in (await failure_of(sessions, "btc_usd")).message


@pytest.mark.parametrize(
    ("retry", "attempt", "second", "least", "most"),
    [
        (Retry.SOON, 1, 0, 0.75, 1.25),
        (Retry.SOON, 3, 10, 3, 5),
        (Retry.SOON, 9, 0, 22.5, 37.5),
        (Retry.SLOWLY, 1, 0, 30, 30),
    ],
)
def test_a_failed_ticker_is_asked_again_later_and_later(
    retry: Retry, attempt: int, second: int, least: float, most: float
) -> None:
    missed = Missed("btc_usd", SourceError(Cause.UNAVAILABLE, "away", retry=retry))
    now = minute(0) + timedelta(seconds=second)

    delay = collecting.retry_delay(missed, minute(0), attempt, now)

    assert delay is not None
    assert least <= delay <= most


@pytest.mark.parametrize(
    ("retry", "second"), [(Retry.NEVER, 0), (Retry.SLOWLY, 30), (Retry.SOON, 60)]
)
def test_a_failed_ticker_is_not_asked_in_vain_nor_beyond_its_minute(
    retry: Retry, second: int
) -> None:
    missed = Missed("btc_usd", SourceError(Cause.UNAVAILABLE, "away", retry=retry))
    now = minute(0) + timedelta(seconds=second)

    assert collecting.retry_delay(missed, minute(0), 1, now) is None


def test_a_message_s_minute_is_whole_and_in_utc() -> None:
    assert minute_of("2026-01-31 13:00:59.9+01:00") == datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    with pytest.raises(ValueError, match="time zone"):
        minute_of("2026-01-31T12:00:00")
