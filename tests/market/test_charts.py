"""What of a chart can be used, and when a chart is whole."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.market import charts
from quotes.market.sources import Chart, Point, Range

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def points(ages: Iterable[int], price: str = "80000.5") -> list[Point]:
    """A point each so many seconds ago."""
    return [Point(NOW - age * SECOND, Decimal(price)) for age in ages]


HOUR = points(range(3_594, -1, -6))


def test_an_hour_of_good_points_is_whole_and_stays_as_it_is() -> None:
    chart = charts.cleaned(Chart(HOUR), NOW)

    assert chart == Chart(HOUR)
    assert charts.fault(chart) is None
    assert charts.parts(chart, Range.HOUR, NOW) == charts.PARTS


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (Point(datetime(1970, 1, 21, tzinfo=UTC), Decimal(80_000)), "older than 2016"),
        (Point(datetime(2015, 12, 31, tzinfo=UTC), Decimal(80_000)), "older than 2016"),
        (Point(datetime(1900, 1, 1, tzinfo=UTC), Decimal(80_000)), "older than 2016"),
        (Point(NOW + timedelta(hours=1), Decimal(80_000)), "of the future"),
        (Point(datetime(9999, 1, 1, tzinfo=UTC), Decimal(80_000)), "of the future"),
        (Point(NOW - 600 * SECOND, Decimal(80_000)), "that came twice"),
        (Point(NOW - 601 * SECOND, Decimal("1e20")), "of an absurd price"),
        (Point(NOW - 601 * SECOND, Decimal(9_000_000)), "of an absurd price"),
        (Point(NOW - 601 * SECOND, Decimal(700)), "of an absurd price"),
        (Point(NOW - 1 * SECOND, Decimal(9_000_000)), "of an absurd price"),
        (Point(NOW - 3_599 * SECOND, Decimal(7)), "of an absurd price"),
    ],
)
def test_a_point_that_cannot_be_true_is_left_out_and_the_others_stay(
    bad: Point, fault: str
) -> None:
    chart = charts.cleaned(Chart([*HOUR, bad], Counter(before=2)), NOW)

    assert chart.points == HOUR
    assert chart.left_out == {"before": 2, fault: 1}
    assert charts.fault(chart) is None


def test_points_in_reversed_order_are_put_in_order() -> None:
    assert charts.cleaned(Chart(HOUR[::-1]), NOW) == Chart(HOUR)


@pytest.mark.parametrize(
    ("chart", "fault"),
    [
        (Chart([]), "is empty"),
        (Chart([], Counter({"without a price": 600})), "has 600 points of 600 that"),
        (Chart(HOUR, Counter({"without a price": 100})), "has 100 points of 700 that"),
        (Chart(HOUR, Counter({"without a price": 3})), None),
    ],
)
def test_a_chart_without_points_or_with_many_bad_ones_is_not_believed(
    chart: Chart, fault: str | None
) -> None:
    found = charts.fault(charts.cleaned(chart, NOW))

    assert found is fault is None or (found or "").startswith(fault or "none")


@pytest.mark.parametrize(
    ("span", "ages", "parts"),
    [
        (Range.HOUR, range(0, 1_800, 6), 5),  # the earlier half is missing
        (Range.HOUR, range(1_801, 3_600, 6), 5),  # the later half
        (Range.HOUR, [*range(0, 900, 6), *range(2_701, 3_600, 6)], 6),  # the middle
        (Range.HOUR, [0], 1),
        (Range.HOUR, range(7_200, 10_800, 6), 0),
        (Range.DAY, range(0, 86_400, 60), 10),
        (Range.MONTH, range(0, 30 * 86_400, 3_600), 10),
        (Range.YEAR, range(0, 200 * 86_400, 86_400), 6),
        (Range.ALL, range(0, 2_000 * 86_400, 86_400), 10),
        (Range.ALL, range(1_000 * 86_400, 2_000 * 86_400, 86_400), 5),
        (Range.ALL, [0], 1),
    ],
)
def test_a_whole_chart_has_points_in_each_part_of_its_range(
    span: Range, ages: Iterable[int], parts: int
) -> None:
    assert charts.parts(charts.cleaned(Chart(points(ages)), NOW), span, NOW) == parts


moments = st.datetimes(timezones=st.just(UTC))
prices = st.decimals(min_value="1e-30", max_value="1e30", allow_nan=False)


@given(st.lists(st.builds(Point, moments, prices), max_size=30))
def test_whatever_comes_what_is_used_is_in_order_of_the_exchange_s_life_and_counted(
    found: list[Point],
) -> None:
    chart = charts.cleaned(Chart(found), NOW)

    times = [point.at for point in chart.points]
    assert times == sorted(set(times))
    assert all(charts.OLDEST <= at <= NOW + charts.CLOCKS for at in times)
    assert len(times) + chart.left_out.total() == len(found)
    assert set(chart.points) <= set(found)
    charts.fault(chart)
    if chart.points:
        assert all(0 <= charts.parts(chart, span, NOW) <= charts.PARTS for span in Range)
