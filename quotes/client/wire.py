"""Rows and moments as GraphQL has them: what is selected of a row, and how it is read."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from quotes.client.frames import Rows

Row = TypeVar("Row")
Moment = datetime | str  # with its time zone; a text is ISO 8601, as 2026-01-31T09:30:00Z
Day = date | str  # a UTC day, as 2026-01-31
Duration = timedelta | str  # as 90s or 24h

Reader = tuple[str, str, Callable[[Any], Any]]  # a field, its name in answers, its value from one

_READERS: dict[type[Any], list[Reader]] = {}  # of each class of rows that has been read
_NAMES = {"since": "from", "until": "to"}  # `from` is a word of Python's


def selection(kind: type[Any]) -> str:
    """`{ ticker price observedAt }`, of a class of rows."""
    return "{ " + " ".join(_selected(kind)) + " }"


def _selected(kind: type[Any]) -> list[str]:
    hints = get_type_hints(kind)
    return [
        f"{wire_name(field.name)} {selection(get_args(hints[field.name])[0])}"
        if get_origin(hints[field.name]) is Rows
        else wire_name(field.name)
        for field in fields(kind)
    ]


def wire_name(name: str) -> str:
    first, *more = _NAMES.get(name, name).split("_")
    return first + "".join(word.capitalize() for word in more)


def row(kind: type[Row], answer: Mapping[str, Any]) -> Row:
    return kind(**{name: read(answer[there]) for name, there, read in _readers(kind)})


def rows(kind: type[Row], answers: list[Mapping[str, Any]]) -> Rows[Row]:
    return Rows(kind, (row(kind, each) for each in answers))


def _readers(kind: type[Any]) -> list[Reader]:
    if kind not in _READERS:
        hints = get_type_hints(kind)
        _READERS[kind] = [
            (field.name, wire_name(field.name), _reader(hints[field.name]))
            for field in fields(kind)
        ]
    return _READERS[kind]


def _reader(hint: Any) -> Callable[[Any], Any]:
    if get_origin(hint) is Rows:
        return partial(rows, get_args(hint)[0])
    if NoneType in get_args(hint):
        (some,) = set(get_args(hint)) - {NoneType}
        read = _reader(some)
        return lambda value: None if value is None else read(value)
    readers: dict[Any, Callable[[Any], Any]] = {
        Decimal: Decimal,
        datetime: datetime.fromisoformat,
        float: float,  # 1.0 may be written as 1
    }
    return readers.get(hint, lambda value: value)


def moment(given: Moment | None) -> datetime | None:
    """In UTC. Raises ValueError, with a sentence, where it has no time zone."""
    if given is None:
        return None
    try:
        found = datetime.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        raise ValueError(
            f"{given!r} is no moment; write ISO 8601, as in 2026-01-31T09:30:00Z"
        ) from None
    if found.tzinfo is None:
        raise ValueError(
            f"{given!s} has no time zone; write 2026-01-31T09:30:00Z, or give a datetime its tzinfo"
        )
    return found.astimezone(UTC)


def moment_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def day_text(day: Day | None) -> str | None:
    return day.isoformat() if isinstance(day, date) else day


def duration_text(duration: Duration | None) -> str | None:
    if isinstance(duration, timedelta):
        return f"{duration // timedelta(seconds=1)}s"
    return duration
