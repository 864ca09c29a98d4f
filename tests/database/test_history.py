"""Candles and gaps equal what plain Python reckons from the same minutes."""

import csv
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from uuid import uuid4
from zoneinfo import ZoneInfo

import plain
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from paths import REPLAY
from rows import NOON, insert, minute, quote
from versions import on_each_postgres

from quotes.api.history import candles, gaps
from quotes.api.history.candles import Fill
from quotes.database.log import store
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions
from quotes.live.thread import Thread
from quotes.market.intervals import INTERVALS

pytestmark = on_each_postgres

TICKERS = ("btc_usd", "eth_usd")
MONTH = 43_200  # minutes
BEGIN = datetime(2025, 5, 30, 16, 39, tzinfo=UTC)
END = BEGIN + timedelta(minutes=MONTH)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
Prices = dict[str, list[tuple[datetime, str]]]


def recorded() -> Prices:
    prices: Prices = {}
    for ticker in TICKERS:
        with (REPLAY / f"{ticker}.csv").open() as lines:
            rows = csv.DictReader(lines)
            prices[ticker] = [(datetime.fromisoformat(row["at"]), row["price"]) for row in rows]
    return prices


def random_walk() -> Prices:
    chance = random.Random(4)  # noqa: S311  # no secret
    prices: Prices = {}
    for ticker in TICKERS:
        cents = 10_000_000
        prices[ticker] = []
        for at in range(MONTH):
            cents += chance.randint(-900, 900)
            prices[ticker].append((BEGIN + at * MINUTE, str(Decimal(cents) / 100)))
    return prices


@cache  # of 85,000 rows, which take longer to build than to store
def month() -> tuple[Quote, ...]:
    """Recorded minutes where they lie beside the checkout, else a random walk.

    Some minutes and some whole ranges are lost.
    """
    chance = random.Random(5)  # noqa: S311  # no secret
    prices = recorded() if REPLAY.exists() else random_walk()
    quotes = [
        Quote(
            ticker=ticker,
            minute=at,
            price=Decimal(price),
            observed_at=at,
            source="demo",
            origin=chance.choice([*Origin]),
        )
        for ticker, rows in prices.items()
        for at, price in rows
        if chance.random() > 0.02
    ]
    for _ in range(20):
        start = chance.randrange(len(quotes))
        del quotes[start : start + chance.randint(1, 3_000)]
    return tuple(quotes)


async def insert_some_late(sessions: Sessions, quotes: Sequence[Quote]) -> None:
    """Some come long after the others."""
    chance = random.Random(6)  # noqa: S311  # no secret
    late = [chance.random() < 0.05 for _ in quotes]
    in_time = [each for each, is_late in zip(quotes, late, strict=True) if not is_late]
    too_late = [each for each, is_late in zip(quotes, late, strict=True) if is_late]
    chance.shuffle(too_late)
    for part in (in_time, too_late):
        for start in range(0, len(part), 5_000):
            await insert(sessions, *part[start : start + 5_000])


def start_of(name: str, at: datetime) -> datetime:
    """When the interval begins, reckoned as on paper."""
    day = at.replace(hour=0, minute=0)
    if name == "1mo":
        return day.replace(day=1)
    if name == "1w":
        return day - timedelta(days=day.isoweekday() - 1)
    length = {"m": 1, "h": 60, "d": 1_440}[name[-1]] * int(name[:-1])
    since_midnight = at.hour * 60 + at.minute
    return day + timedelta(minutes=since_midnight // length * length)


async def read_all(sessions: Sessions, ticker: str, name: str) -> dict[datetime, plain.Candle]:
    """A whole month's candles, page by page."""
    interval = INTERVALS[name]
    since, found = interval.start(BEGIN), {}
    while since < END:
        until = min(since + 4_000 * interval.length, END)
        bounds = candles.bounds(interval, UTC, since, until, NOW)
        page = await candles.read(sessions, Thread(), ticker, bounds, Fill.NONE, NOW)
        for each in page:
            assert each.open_time not in found
            assert each.close_time == interval.after(each.open_time)
            prices = (each.open, each.high, each.low, each.close)
            opened, high, low, closed = (Decimal(str(price)) for price in prices)
            found[each.open_time] = plain.Candle(opened, high, low, closed, each.count)
        since = bounds[-1]
    return found


async def test_a_month_s_candles_and_gaps_equal_those_computed_in_plain_python(
    sessions: Sessions,
) -> None:
    await insert_some_late(sessions, month())

    for ticker in TICKERS:
        own = [each for each in month() if each.ticker == ticker]
        for name in INTERVALS:
            expected = plain.candles(own, partial(start_of, name))
            assert await read_all(sessions, ticker, name) == expected, (ticker, name)
        span = store.Span(ticker, BEGIN, END)
        answer = await gaps.read(sessions, Thread(), span, 1_000_000, NOW)
        missing = plain.gaps((each.minute for each in own), BEGIN, END)
        assert [(gap.since, gap.until) for gap in answer.nodes if not gap.repaired] == missing
        assert (answer.expected, answer.present) == (MONTH, len(own))
        assert answer.missing == MONTH - len(own)
        assert answer.repaired == sum(each.origin == Origin.REPAIRED for each in own)


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Europe/Berlin", "2025-03-30"),
        ("Europe/Berlin", "2025-10-26"),
        ("Asia/Kolkata", "2025-10-26"),
        ("Australia/Lord_Howe", "2025-10-05"),
    ],
)
@pytest.mark.parametrize("name", ["1h", "12h", "1d", "1w"])
async def test_candles_of_a_zone_follow_its_clocks_on_the_day_they_change(
    sessions: Sessions, zone: str, day: str, name: str
) -> None:
    clocks = ZoneInfo(zone)
    middle = datetime.fromisoformat(day).replace(hour=12, tzinfo=clocks).astimezone(UTC)
    chance = random.Random(6)  # noqa: S311  # no secret
    quotes = [
        quote(at=(middle - NOON) // MINUTE + at, price=str(chance.randint(1, 10_000)))
        for at in range(-2 * 1_440, 2 * 1_440, 7)
    ]
    await insert(sessions, *quotes)
    interval = INTERVALS[name]

    bounds = candles.bounds(
        interval, clocks, middle - timedelta(days=9), middle + timedelta(days=9), NOW
    )
    answer = await candles.read(sessions, Thread(), "btc_usd", bounds, Fill.NONE, NOW)

    expected = plain.candles(quotes, lambda at: interval.start(at, clocks))
    assert [
        (each.open_time, each.open, each.high, each.low, each.close, each.count) for each in answer
    ] == [
        (start, *map(str, (each.open, each.high, each.low, each.close)), each.count)
        for start, each in expected.items()
    ]


@given(
    present=st.sets(st.integers(0, 300), max_size=60),
    cuts=st.lists(st.integers(-20, 320 * 60), min_size=3, max_size=3, unique=True).map(sorted),
    name=st.sampled_from(["1m", "5m", "30m", "1h", "2h"]),
)
@hypothesis_settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_ranges_that_touch_share_nothing_and_lose_nothing(
    sessions: Sessions, present: set[int], cuts: list[int], name: str
) -> None:
    ticker = f"t{uuid4().hex[:8]}_usd"
    await insert(sessions, *(quote(ticker, at) for at in present))
    first, middle, last = (NOON + timedelta(seconds=cut) for cut in cuts)

    async def read(since: datetime, until: datetime) -> list[candles.Candle]:
        bounds = candles.bounds(INTERVALS[name], UTC, since, until, NOW)
        if not bounds:
            return []
        return await candles.read(sessions, Thread(), ticker, bounds, Fill.NULL, NOW)

    async def minutes(since: datetime, until: datetime) -> int:
        span = store.Span(ticker, since, until)
        return (await gaps.read(sessions, Thread(), span, 1_000, NOW)).present

    whole = await read(first, last)
    assert await read(first, middle) + await read(middle, last) == whole
    assert all(first <= each.open_time < last for each in whole)
    both = await minutes(first, middle) + await minutes(middle, last)
    assert both == await minutes(first, last)
    assert both == sum(first <= minute(at) < last for at in present)
