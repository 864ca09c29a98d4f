"""How time is cut into buckets, in any zone and through changes of the clocks."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.market.intervals import INTERVALS, Interval, parse

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # its clocks change by half an hour
    "Antarctica/Troll",  # by two hours
    "America/Havana",  # at midnight
    "Asia/Beirut",
    "Pacific/Apia",  # once a whole day was left out
]
MINUTE = timedelta(minutes=1)

intervals = st.sampled_from(sorted(INTERVALS.values(), key=lambda each: each.length))
zones = st.sampled_from([ZoneInfo(name) for name in ZONES])
_FIRST, _LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2010, 2030))
moments = st.integers(_FIRST, _LAST).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


def lengths(interval: str, zone: str, since: str, until: str) -> list[float]:
    """The buckets that begin in the range, each with its hours."""
    found = [
        *parse(interval).starts(
            datetime.fromisoformat(since), datetime.fromisoformat(until), ZoneInfo(zone)
        ),
        datetime.fromisoformat(until),
    ]
    return [(after - start) / timedelta(hours=1) for start, after in pairwise(found)]


@given(interval=intervals, zone=zones, moment=moments)
def test_every_moment_is_in_one_bucket_and_buckets_touch(
    interval: Interval, zone: ZoneInfo, moment: datetime
) -> None:
    start = interval.start(moment, zone)
    end = interval.after(start, zone)

    assert start <= moment < end
    assert interval.start(start, zone) == start
    assert interval.start(end - MINUTE, zone) == start
    assert interval.start(end, zone) == end


@given(interval=intervals, moment=moments)
def test_utc_as_a_zone_cuts_as_plain_utc_does(interval: Interval, moment: datetime) -> None:
    zone = ZoneInfo("UTC")
    start = interval.start(moment)

    assert interval.start(moment, zone) == start
    assert interval.after(start, zone) == interval.after(start)


def test_local_days_have_23_24_or_25_hours() -> None:
    spring = lengths("1d", "Europe/Berlin", "2026-03-28T00:00+01:00", "2026-03-31T00:00+02:00")
    autumn = lengths("1d", "Europe/Berlin", "2026-10-24T00:00+02:00", "2026-10-27T00:00+01:00")

    assert (spring, autumn) == ([24, 23, 24], [24, 25, 24])


def test_hours_of_a_local_day_follow_the_clocks() -> None:
    spring = ("Europe/Berlin", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00")
    autumn = ("Europe/Berlin", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00")

    assert lengths("1h", *spring) == [1] * 23
    assert lengths("1h", *autumn) == [1] * 25
    assert lengths("4h", *spring) == [3, 4, 4, 4, 4, 4]
    assert lengths("4h", *autumn) == [5, 4, 4, 4, 4, 4]


def test_weeks_begin_on_mondays_and_months_on_firsts_of_the_zone() -> None:
    moment = datetime(2026, 2, 28, 23, 30, tzinfo=UTC)
    berlin = ZoneInfo("Europe/Berlin")

    assert parse("1w").start(moment) == datetime(2026, 2, 23, tzinfo=UTC)
    assert parse("1mo").start(moment) == datetime(2026, 2, 1, tzinfo=UTC)
    assert parse("1mo").start(moment, berlin) == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert parse("1mo").after(moment.replace(minute=0), berlin) == datetime(
        2026, 3, 31, 22, tzinfo=UTC
    )


def test_hours_of_india_begin_at_half_past_in_utc() -> None:
    moment = datetime(2026, 2, 1, 12, 10, tzinfo=UTC)

    assert parse("1h").start(moment, ZoneInfo("Asia/Kolkata")).minute == 30


@pytest.mark.parametrize("interval", INTERVALS.values(), ids=str)
def test_a_range_that_ends_before_it_begins_holds_no_bucket(interval: Interval) -> None:
    end_of_time = datetime.max.replace(tzinfo=UTC)

    assert [
        *interval.starts(end_of_time, datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("Asia/Tokyo"))
    ] == []


@pytest.mark.parametrize("text", ["1M", "1H", "60m", "3h", "", "1mo "])
def test_any_other_interval_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(ValueError, match="1mo"):
        parse(text)
