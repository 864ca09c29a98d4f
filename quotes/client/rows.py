"""What the service answers with, as values: exact decimals, and moments in UTC.

A class's fields are what is selected of the type in `schema.graphql` that has its name.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from quotes.client.frames import Rows

Origin = Literal["LIVE", "REPAIRED", "BACKFILLED"]
Fill = Literal["NONE", "NULL", "PREVIOUS"]
Interval = Literal["1m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d", "1w", "1mo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One ticker's price for one minute."""

    ticker: str
    at: datetime  # the minute
    price: Decimal  # the exchange's own digits
    observed_at: datetime  # by the exchange's own clock
    source: str  # `deribit`, or `demo` for prices that are made up
    origin: Origin
    cursor: str  # `follow(after=)` goes on from here


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestQuote(Quote):
    """A ticker's newest quote, and whether its price was fresh when it was read."""

    age_seconds: float
    stale: bool
    collected: bool  # false for a ticker that is only history


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """A ticker's prices over [open_time, close_time)."""

    open_time: datetime
    close_time: datetime
    open: Decimal | None  # as the others, None only if `fill` made it up so
    high: Decimal | None
    low: Decimal | None
    close: Decimal | None
    count: int  # minutes that have a quote
    coverage: float  # `count` of the minutes that were over, from 0 to 1
    complete: bool
    filled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One of a series."""

    at: datetime
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A ticker's prices for a chart, thinned out without losing an extreme."""

    points: Rows[Point]
    count: int  # quotes that the points stand for
    cursor: str  # `follow(after=)` delivers what was committed after this was read


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A run of minutes [since, until) without quotes, or with repaired ones."""

    since: datetime
    until: datetime
    minutes: int
    cause: str  # a FailureCause of `schema.graphql`
    repaired: bool  # its quotes were filled in afterwards; else it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """How complete a ticker is over [since, until), minute by minute."""

    since: datetime
    until: datetime
    expected: int
    present: int
    missing: int
    repaired: int
    coverage: float | None  # None where nothing is expected
    nodes: Rows[Gap]  # all of them, oldest first


@dataclass(frozen=True, slots=True, kw_only=True)
class TickerInfo:
    """What is known of a ticker."""

    name: str
    source: str | None  # where its newest quote came from; None before the first
    collected: bool
    stale_reason: str | None  # a sentence; None while its last price is fresh
