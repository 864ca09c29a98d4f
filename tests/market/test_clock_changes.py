"""Buckets through every change of every zone's clocks, from 1970 to 2037."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from quotes.market.intervals import INTERVALS, Interval

FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=each) for each in (1, 60, 3_600, 86_400))
# No zone changes its clocks there and back between two of these.
SAMPLES = [FIRST + number * 20 * DAY for number in range((LAST - FIRST) // (20 * DAY))]
# So far from a change, moments are tried; it is shorter than any two changes lie apart.
AROUND = [
    sign * far + SECOND * fine
    for sign in (-1, 1)
    for far in (timedelta(), 29 * MINUTE, 59 * MINUTE, 2 * HOUR, 23 * HOUR)
    for fine in (-1, 0, 1)
]


def wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the zone's clocks show."""
    return moment.astimezone(zone).replace(tzinfo=None)


def changes(zone: ZoneInfo) -> Iterator[datetime]:
    """The first moment of each other offset, to the second."""
    offsets = [(moment, moment.astimezone(zone).utcoffset()) for moment in SAMPLES]
    for (before, old), (after, new) in pairwise(offsets):
        if new != old:
            low, high = before, after
            while high - low > SECOND:
                middle = low + (high - low) // SECOND // 2 * SECOND
                if middle.astimezone(zone).utcoffset() == old:
                    low = middle
                else:
                    high = middle
            yield high


@cache
def kinds_of_changes() -> list[tuple[ZoneInfo, datetime]]:
    """One zone and change of each kind: the time, the weekday and the clocks before and after."""
    found: dict[object, tuple[ZoneInfo, datetime]] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for change in changes(zone):
            old, new = wall(change - SECOND, zone), wall(change, zone)
            days = [(at.time(), at.weekday(), at.day == 1) for at in (old, new)]
            odd = change.minute or new - old not in {HOUR + SECOND, SECOND - HOUR}
            # What is usual is answer apart less finely.
            kind = (*days, new - old) if odd else (old.time(), new - old)
            found.setdefault(kind, (zone, change))
    return list(found.values())


@pytest.mark.parametrize("interval", INTERVALS.values(), ids=str)
def test_around_every_change_of_clocks_each_moment_is_in_one_bucket_and_buckets_touch(
    interval: Interval,
) -> None:
    assert len(kinds_of_changes()) > 100
    for zone, change in kinds_of_changes():
        for moment in (change + away for away in AROUND):
            start = interval.start(moment, zone)
            end = interval.after(start, zone)

            about = (zone.key, change.isoformat(), moment.isoformat())
            assert start <= moment < end, about
            assert interval.start(start, zone) == start, about
            assert interval.start(end - SECOND, zone) == start, about
            assert interval.start(end, zone) == end, about
            assert interval.after(moment, zone) == end, about
            assert interval.length > HOUR or end - start <= interval.length, about


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Europe/Berlin", "2025-03-30"),
        ("Europe/Berlin", "2025-10-26"),
        ("Australia/Lord_Howe", "2025-04-06"),  # by half an hour
        ("Australia/Lord_Howe", "2025-10-05"),
        ("America/St_Johns", "2010-11-07"),  # back over midnight, at a minute past
        ("America/St_Johns", "2011-03-13"),
        ("America/Havana", "2025-03-09"),  # at midnight
        ("America/Asuncion", "2024-03-24"),  # back to the day before
        ("Pacific/Apia", "2011-12-30"),  # a day left out
        ("Pacific/Kwajalein", "1993-08-21"),
        ("Africa/Monrovia", "1972-01-07"),  # from an offset with seconds
        ("Antarctica/Troll", "2025-10-26"),  # by two hours
    ],
)
@pytest.mark.parametrize("name", ["1m", "15m", "1h", "2h", "12h", "1d", "1w", "1mo"])
def test_buckets_begin_as_clocks_read_minute_by_minute_show(zone: str, day: str, name: str) -> None:
    clocks, interval = ZoneInfo(zone), INTERVALS[name]
    middle = datetime.fromisoformat(day).replace(tzinfo=UTC)
    since, until = middle - 40 * HOUR, middle + 40 * HOUR

    found = [*interval.starts(since + SECOND, until, clocks)]

    assert found == expected_starts(interval, clocks, since, until)


def expected_starts(
    interval: Interval, zone: ZoneInfo, since: datetime, until: datetime
) -> list[datetime]:
    """By looking at the clocks twice a minute.

    An hour or less begins with each multiple that the clocks show, and where they change. What is
    longer begins where the clocks show its beginning, or something later, for the first time.
    """
    found, latest = [], label(interval, wall(since - 40 * HOUR, zone))
    half_minutes = [since + number * MINUTE / 2 for number in range((until - since) // MINUTE * 2)]
    for before, at in pairwise([since - MINUTE / 2, *half_minutes]):
        shown = label(interval, wall(at, zone))
        if interval.length <= HOUR:
            old, new = (moment.astimezone(zone).utcoffset() for moment in (before, at))
            begins = old != new or shown != label(interval, wall(before, zone))
        else:
            begins = shown > latest
            latest = max(latest, shown)
        if begins and at > since:
            found.append(at)
    return found


def label(interval: Interval, shown: datetime) -> datetime:
    """The beginning, on the clocks, of what they show."""
    midnight = shown.replace(hour=0, minute=0, second=0, microsecond=0)
    match interval.name:
        case "1mo":
            return midnight.replace(day=1)
        case "1w":
            return midnight - shown.weekday() * DAY
        case _:
            return shown - (shown - midnight) % interval.length
