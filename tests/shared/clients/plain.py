"""Candles and gaps computed in plain Python, minute by minute: the oracle for the service."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby

from quotes.database.models import Quote

MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Candle:
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    count: int

    @classmethod
    def of(cls, prices: Sequence[Decimal]) -> "Candle":
        return cls(prices[0], max(prices), min(prices), prices[-1], len(prices))


def candles(
    quotes: Iterable[Quote], start_of: Callable[[datetime], datetime]
) -> dict[datetime, Candle]:
    """By its opening, each bucket's candle; `start_of` gives the bucket of a minute."""
    in_order = sorted((each.minute, each.price) for each in quotes)
    buckets = groupby(in_order, key=lambda point: start_of(point[0]))
    return {start: Candle.of([price for _, price in within]) for start, within in buckets}


def outermost(quotes: Iterable[Quote]) -> set[tuple[datetime, Decimal]]:
    """The first, the highest, the lowest and the last; of equals the earlier."""
    points = sorted((each.minute, each.price) for each in quotes)
    if not points:
        return set()
    highest = min(points, key=lambda point: (-point[1], point[0]))
    lowest = min(points, key=lambda point: (point[1], point[0]))
    return {points[0], highest, lowest, points[-1]}


def thinned(quotes: Sequence[Quote], most: int) -> list[Quote]:
    """At most `most` of the quotes, which are in order: of each bucket the extremes."""
    if len(quotes) <= most:
        return list(quotes)
    begin = quotes[0].minute
    width = (quotes[-1].minute - begin + MINUTE) / (most // 4)
    return [
        each
        for bucket in range(most // 4)
        for within in [[each for each in quotes if (each.minute - begin) // width == bucket]]
        for each in within
        if (each.minute, each.price) in outermost(within)
    ]


def gaps(
    present: Iterable[datetime], since: datetime, until: datetime
) -> list[tuple[datetime, datetime]]:
    """The runs of minutes of [since, until) that are not present, half-open."""
    have = set(present)
    found: list[tuple[datetime, datetime]] = []
    at = since
    while at < until:
        if at not in have:
            if found and found[-1][1] == at:
                found[-1] = (found[-1][0], at + MINUTE)
            else:
                found.append((at, at + MINUTE))
        at += MINUTE
    return found


def sparkline(quotes: Sequence[Quote], window: timedelta, hours: int) -> list[Quote]:
    """Of the quotes, which are in order: the window's ends, and the extremes of so many hours."""
    begin = quotes[-1].minute - window
    bases = [
        each for each in quotes if begin - max(window / 10, 2 * MINUTE) <= each.minute <= begin
    ]
    chosen = {id(each) for each in [*bases[-1:], quotes[-1]]}
    length = timedelta(hours=hours)
    since = begin + (EPOCH - begin) % timedelta(hours=1)  # the window's first whole hour
    within = [each for each in quotes if each.minute >= since] if hours else []
    for _, part in groupby(within, key=lambda each: (each.minute - EPOCH) // length):
        prices = {each.price: each for each in reversed(list(part))}  # of equals the earlier
        chosen |= {id(prices[max(prices)]), id(prices[min(prices)])}
    return [each for each in quotes if id(each) in chosen]
