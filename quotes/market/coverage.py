"""Which minutes are missing, computed from the hours' bitmaps instead of the minutes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
Run = tuple[datetime, datetime, bool]  # as the fields of a Gap

FULL = (1 << 60) - 1  # an hour without a gap


@dataclass(slots=True)
class HourCoverage:
    """Which minutes of an hour have quotes; and the previous hour that has any."""

    hour: datetime
    minutes: int  # bit n: minute n has a quote
    repaired: int  # bit n: it was filled in afterwards
    before: datetime | None  # None for the first of its range


@dataclass(slots=True)  # not frozen: a year of hourly history has thousands
class Gap:
    """The longest run of minutes that are all missing, or all repaired; half-open."""

    since: datetime
    until: datetime
    repaired: bool

    @property
    def minutes(self) -> int:
        return (self.until - self.since) // MINUTE


def gaps(hours: Iterable[HourCoverage], since: datetime, until: datetime) -> list[Gap]:
    """The gaps of [since, until), both whole minutes, in order.

    `hours` are in order and may leave out full ones, but none that follows an hour without quotes,
    and not the last that has any.
    """
    found: list[Gap] = []
    for begin, end, repaired in _raw(hours, hour_of(since), until):
        start, stop = max(begin, since), min(end, until)
        if start >= stop:
            continue
        if found and found[-1].until == start and found[-1].repaired is repaired:
            found[-1].until = stop
        else:
            found.append(Gap(start, stop, repaired))
    return found


def _raw(hours: Iterable[HourCoverage], known: datetime, until: datetime) -> Iterator[Run]:
    """Hour by hour; adjacent runs are not joined yet."""
    for each in hours:
        begin = known if each.before is None else each.before + HOUR
        if begin < each.hour:
            yield begin, each.hour, False
        yield from _within(each)
        known = each.hour + HOUR
    if known < until:
        yield known, until, False


def _within(each: HourCoverage) -> list[Run]:
    runs = [(*run, False) for run in _runs(~each.minutes & FULL)]
    runs += [(*run, True) for run in _runs(each.repaired)]
    return [
        (each.hour + start * MINUTE, each.hour + end * MINUTE, repaired)
        for start, end, repaired in sorted(runs)
    ]


def _runs(bits: int) -> Iterator[tuple[int, int]]:
    """The runs of ones, each from its first place to the one after its last."""
    while bits:
        start = (bits & -bits).bit_length() - 1
        ones = bits >> start
        length = (~ones & (ones + 1)).bit_length() - 1
        yield start, start + length
        bits &= ~(((1 << length) - 1) << start)


def missing_minutes(gaps: Iterable[Gap]) -> set[datetime]:
    """Every minute of the gaps that were not repaired."""
    return {
        gap.since + at * MINUTE for gap in gaps if not gap.repaired for at in range(gap.minutes)
    }


def hour_of(moment: datetime) -> datetime:
    """The beginning of its hour, in UTC."""
    return moment.replace(minute=0, second=0, microsecond=0)
