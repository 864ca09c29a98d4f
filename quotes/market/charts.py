"""Which points of a chart are plausible, and whether a chart is complete."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from quotes.market.sources import Chart, Point, Range

OLDEST = datetime(2016, 1, 1, tzinfo=UTC)  # the exchange opened in the middle of that year
CLOCKS = timedelta(minutes=1)  # by which the exchange's clock may be ahead of ours
HIGHEST, LOWEST = Decimal("1e12"), Decimal("1e-15")  # the prices of all indexes lie far within
LEAP = 100  # times the neighbours' median is not plausible
NEIGHBOURS = 4
MOST_LEFT_OUT = 0.1  # of the points of a usable chart
PARTS = 10  # of a chart's range; a whole chart has points in each

_LENGTHS = {
    Range.HOUR: timedelta(hours=1),
    Range.DAY: timedelta(days=1),
    Range.TWO_DAYS: timedelta(days=2),
    Range.MONTH: timedelta(days=28),  # at least
    Range.YEAR: timedelta(days=365),
}


def cleaned(chart: Chart, now: datetime) -> Chart:
    """The chart without implausible points, which are counted."""
    left_out = chart.left_out.copy()
    points: list[Point] = []
    for point in sorted(chart.points, key=lambda point: point.at):
        if fault := _fault(point, points[-1:], now):
            left_out[fault] += 1
        else:
            points.append(point)
    believed = [point for at, point in enumerate(points) if not _leaps(points, at)]
    if len(believed) < len(points):
        left_out["of an absurd price"] += len(points) - len(believed)
    return Chart(believed, left_out)


def _fault(point: Point, before: Sequence[Point], now: datetime) -> str | None:
    if point.at < OLDEST:
        return f"older than {OLDEST.year}"
    if point.at > now + CLOCKS:
        return "of the future"
    if not LOWEST <= point.price <= HIGHEST:
        return "of an absurd price"
    if before and before[0].at == point.at:
        return "that came twice"
    return None


def _leaps(points: Sequence[Point], at: int) -> bool:
    first = max(min(at - NEIGHBOURS // 2, len(points) - 1 - NEIGHBOURS), 0)
    near = points[first : first + NEIGHBOURS + 1]
    around = sorted(point.price for point in near if point is not points[at])
    if len(around) < 2:  # noqa: PLR2004  # either of them may be wrong
        return False
    median = around[len(around) // 2]
    return not median / LEAP <= points[at].price <= median * LEAP


def fault(chart: Chart) -> str | None:
    """Why a cleaned chart is unusable, as a predicate of "the chart"; None if it is usable."""
    bad = chart.left_out.total()
    every = bad + len(chart.points)
    if not every:
        return "is empty"
    if bad > MOST_LEFT_OUT * every:
        return f"has {bad:,} points of {every:,} that cannot be used"
    return None


def parts(chart: Chart, span: Range, now: datetime) -> int:
    """How many of the PARTS of its range have a point; of a chart that has points."""
    begin = now - _LENGTHS[span] if span in _LENGTHS else chart.points[0].at
    part = (now - begin) / PARTS
    if part <= timedelta():
        return 1
    places = ((point.at - begin) // part for point in chart.points if point.at >= begin)
    return len({min(place, PARTS - 1) for place in places})
