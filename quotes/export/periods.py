"""The periods that files are of: a UTC day, month or year, written as in ISO 8601."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self

from quotes.market.intervals import EPOCH

DAY = timedelta(days=1)
MAX_SHOWN = 40  # characters of a wrong period that its refusal repeats
HOW = "write the UTC day, month or year, as 2026-11-24, 2026-11 or 2026"

_PERIOD = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")


@dataclass(frozen=True, slots=True)
class Period:
    """[since, until), in UTC; its text is its name."""

    text: str
    since: datetime
    until: datetime

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, with a sentence for the person who wrote it."""
        match = _PERIOD.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:MAX_SHOWN]!r} is no period; {HOW}")
        year, month, day = (int(part) if part else None for part in match.groups())
        assert year is not None
        try:
            first = date(year, month or 1, day or 1)
        except ValueError:
            raise ValueError(f"There is no {text} in the calendar; {HOW}") from None
        since = datetime(first.year, first.month, first.day, tzinfo=UTC)
        if since < EPOCH or year == date.max.year:
            raise ValueError(f"No price is of {text}; {HOW}")
        if day:
            return cls(text, since, since + DAY)
        return cls(text, since, _after(since, whole_year=month is None))

    @classmethod
    def day(cls, moment: datetime) -> Self:
        """The day that the moment is in."""
        since = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(f"{since:%Y-%m-%d}", since, since + DAY)

    def closed(self, now: datetime) -> bool:
        """Whether it is over; only late quotes can still be added."""
        return self.until <= now

    def days(self, first: datetime, last: datetime) -> Iterator["Period"]:
        """Its days from the one that `first` is in to the one that `last` is in."""
        return days(max(first, self.since), min(last, self.until - DAY))


def days(first: datetime, last: datetime) -> Iterator[Period]:
    """The days from the one that `first` is in to the one that `last` is in."""
    each = Period.day(first)
    while each.since <= last:
        yield each
        each = Period.day(each.until)


def _after(since: datetime, *, whole_year: bool) -> datetime:
    if whole_year:
        return since.replace(year=since.year + 1)
    return (since + 31 * DAY).replace(day=1)
