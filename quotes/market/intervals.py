"""How time is cut into candles: whole buckets of the local day, week or month of a time zone."""

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

        Buckets begin where the zone's clocks show whole multiples from midnight, on Mondays and on
        firsts. So a local day has 23 to 25 hours. An hour that the clocks show twice is two hourly
        buckets, and belongs to one of the longer ones.
        """
        if zone is UTC and self.length < _MONTH:
            anchor = _MONDAY if self.length > _DAY else EPOCH
            return moment - (moment - anchor) % self.length
        local = moment.astimezone(zone)
        fold = local.fold if self.length <= _HOUR else 0
        return _instant(self._floor(local.replace(tzinfo=None, fold=0)), zone, fold)

    def after(self, start: datetime, zone: tzinfo = UTC) -> datetime:
        """When the bucket that begins at `start` ends and the next begins."""
        if zone is UTC and self.length < _MONTH:
            return start + self.length
        if self.length <= _HOUR:
            within = start + self.length  # the next one, or where the clocks go back this one still
            while (end := self.start(within, zone)) <= start:
                within += self.length
            return end
        wall = self._floor(start.astimezone(zone).replace(tzinfo=None, fold=0))
        while (end := _instant(wall := self._next(wall), zone, 0)) <= start:
            pass  # the clocks jumped over a whole bucket
        return end

    def starts(self, since: datetime, until: datetime, zone: tzinfo = UTC) -> Iterator[datetime]:
        """The beginnings that lie in [since, until), in order."""
        start = self.start(since, zone)
        while start < until:
            if start >= since:
                yield start
            start = self.after(start, zone)

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


def _instant(wall: datetime, zone: tzinfo, fold: int) -> datetime:
    """A time that the clocks jump over is the moment of the jump or just after it."""
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


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
