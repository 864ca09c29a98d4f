"""How time is divided into candles: buckets of the local day, week or month of a time zone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # no price is older
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_MONTH = 28 * _DAY


@dataclass(frozen=True, slots=True)
class Interval:
    """A length of candles: at most a day and a whole part of it, a week, or a calendar month."""

    name: str
    length: timedelta  # of a month, the shortest

    def start(self, moment: datetime, zone: tzinfo = UTC) -> datetime:
        """When the bucket that holds the moment begins, in UTC.

        Buckets of an hour or less begin where the zone's clocks show whole multiples from midnight,
        and where the clocks are changed: so none is longer than its name. Longer ones begin when
        the clocks first show a multiple, a Monday or a first, or jump over it: so a local day has
        23 to 25 hours, and what the clocks show again belongs to the bucket that has begun.
        """
        if zone is UTC and self.length < _MONTH:
            anchor = _MONDAY if self.length > _DAY else EPOCH
            return moment - (moment - anchor) % self.length
        wall = _wall(moment, zone)
        if self.length <= _HOUR:
            start = moment - (wall - self._floor(wall))
            return start if _same_offset(start, moment, zone) else _change(start, moment, zone)
        begin = self._floor(wall)
        while _first(self._next(begin), zone) <= moment:
            begin = self._next(begin)
        return _first(begin, zone)

    def after(self, moment: datetime, zone: tzinfo = UTC) -> datetime:
        """When the bucket that holds the moment ends and the next begins."""
        if zone is UTC and self.length < _MONTH:
            return self.start(moment) + self.length
        wall = _wall(moment, zone)
        begin = self._floor(wall)
        if self.length <= _HOUR:
            end = moment + (self._next(begin) - wall)
            return end if _same_offset(moment, end, zone) else _change(moment, end, zone)
        while (end := _first(begin := self._next(begin), zone)) <= moment:
            pass  # shown before the clocks went back, or jumped over
        return end

    def starts(self, since: datetime, until: datetime, zone: tzinfo = UTC) -> Iterator[datetime]:
        """The beginnings that lie in [since, until), in order."""
        if since >= until:
            return  # `since` may be the last moment there is, which no bucket's end comes after
        start = self.start(since, zone)
        even = zone is UTC and self.length < _MONTH
        while start < until:
            if start >= since:
                yield start
            start = start + self.length if even else self.after(start, zone)

    def _floor(self, wall: datetime) -> datetime:
        midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.length >= _MONTH:
            return midnight.replace(day=1)
        if self.length > _DAY:
            return midnight - wall.weekday() * _DAY
        return wall - (wall - midnight) % self.length

    def _next(self, wall: datetime) -> datetime:
        if self.length >= _MONTH:
            return (wall + 31 * _DAY).replace(day=1)
        return wall + self.length


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    """What the zone's clocks show, without the zone."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _first(wall: datetime, zone: tzinfo) -> datetime:
    """When the clocks first show this time, or jump over it."""
    start, again = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return start if start <= again else _change(again, start, zone)  # never shown: a jump


def _same_offset(one: datetime, other: datetime, zone: tzinfo) -> bool:
    return one.astimezone(zone).utcoffset() == other.astimezone(zone).utcoffset()


def _change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """When the clocks are changed in (before, after], whose offsets differ; a whole second."""
    low, high = int(before.timestamp()), int(after.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if _same_offset(datetime.fromtimestamp(middle, UTC), after, zone):
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)


INTERVALS = {
    interval.name: interval
    for interval in (
        *(Interval(f"{count}m", timedelta(minutes=count)) for count in (1, 5, 15, 30)),
        *(Interval(f"{count}h", timedelta(hours=count)) for count in (1, 2, 4, 6, 12)),
        Interval("1d", _DAY),
        Interval("1w", 7 * _DAY),
        Interval("1mo", _MONTH),
    )
}


def parse(text: str) -> Interval:
    """Raises ValueError, with a sentence for the person who wrote it, for any other length."""
    if interval := INTERVALS.get(text):
        return interval
    if text == "1M":
        raise ValueError(
            "'1M' could be a minute or a month; write 1m for a minute, 1mo for a month"
        )
    raise ValueError(f"{text[:20]!r} is no interval; write one of {', '.join(INTERVALS)}")
