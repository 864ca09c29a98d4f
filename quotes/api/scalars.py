"""The schema's own scalars: how each is read from a request and written to an answer."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NewType, TypeVar
from zoneinfo import ZoneInfo

import strawberry
from graphql import ValueNode, located_error, value_from_ast_untyped
from strawberry.types.scalar import ScalarDefinition

from quotes.api.errors import RefusedError, bad_input
from quotes.market import intervals, tickers
from quotes.market.intervals import Interval

Ticker = NewType("Ticker", str)
Timestamp = NewType("Timestamp", int)
Percent = NewType("Percent", Decimal)
Parsed = TypeVar("Parsed")

MAX_SHOWN = 40  # characters of a wrong value that its refusal repeats
LONGEST = timedelta(days=3_650)

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_PERCENT = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4})?)%")
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")


def _text(value: object, wanted: str) -> str:
    if not isinstance(value, str):
        raise bad_input(f"{wanted} is written as a string, not as {type(value).__name__}.")
    return value


def _ticker(value: object) -> Ticker:
    try:
        return Ticker(tickers.parse(_text(value, "A ticker")))
    except ValueError as error:
        raise bad_input(f"{error}.") from None


def _datetime(value: object) -> datetime:
    text = _text(value, "A DateTime")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise bad_input(
            f"{text[:MAX_SHOWN]!r} is no DateTime; write ISO 8601, as in 2026-01-31T09:30:00Z."
        ) from None
    if moment.tzinfo is None:
        raise bad_input(
            f"{text[:MAX_SHOWN]!r} has no time zone; add one, as in 2026-01-31T09:30:00Z or +02:00."
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise bad_input(f"{text[:MAX_SHOWN]!r} is beyond the calendar's end.") from None


def _date(value: object) -> date:
    text = _text(value, "A Date")
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  # a day has no zone
    except ValueError:
        raise bad_input(
            f"{text[:MAX_SHOWN]!r} is no Date; write the UTC day, as in 2026-01-31."
        ) from None


def _interval(value: object) -> Interval:
    try:
        return intervals.parse(_text(value, "An Interval"))
    except ValueError as error:
        raise bad_input(f"{error}.") from None


def _time_zone(value: object) -> ZoneInfo:
    name = _text(value, "A TimeZone")
    try:
        return ZoneInfo(name[:MAX_SHOWN])
    except (KeyError, ValueError, OSError):  # no such file, a path, a folder
        raise bad_input(
            f"{name[:MAX_SHOWN]!r} is no time zone; write its IANA name, as in Europe/Berlin."
        ) from None


def _duration(value: object) -> timedelta:
    text = _text(value, "A Duration")
    if match := _DURATION.fullmatch(text):
        length = int(match[1]) * _UNITS[match[2]]
        if timedelta() < length <= LONGEST:
            return length
    raise bad_input(
        f"{text[:MAX_SHOWN]!r} is no Duration; write a whole number above 0 and its unit, "
        f"as in 90s, 15m, 24h, 7d or 4w, and at most {LONGEST.days:,}d."
    )


def _percent(value: object) -> Percent:
    text = _text(value, "A Percent")
    if (match := _PERCENT.fullmatch(text)) and (percent := Decimal(match[1])) > 0:
        return Percent(percent)
    raise bad_input(
        f"{text[:MAX_SHOWN]!r} is no Percent; write a number above 0 and below 10,000, "
        "with at most 4 decimals, and its sign, as in 0.5% or 2%."
    )


def _written(parse: Callable[[object], Parsed]) -> Callable[..., Parsed]:
    """`parse` for a value that stands in a document: its fault is shown there."""

    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Parsed:
        try:
            return parse(value_from_ast_untyped(node, variables))
        except RefusedError as refusal:
            raise located_error(refusal, [node]) from None

    return parse_literal


def duration_text(length: timedelta) -> str:
    """In the largest unit that leaves a whole number."""
    unit = next(unit for unit in reversed(_UNITS) if not length % _UNITS[unit])
    return f"{length // _UNITS[unit]}{unit}"


def percent_text(percent: Decimal) -> str:
    return f"{percent:f}%"


def utc_text(moment: datetime) -> str:
    """ISO 8601 with `Z`, and no fraction where there is none."""
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


SCALARS: Mapping[object, ScalarDefinition] = {
    Ticker: strawberry.scalar(
        name="Ticker",
        description=(
            "An index name of the exchange, as `btc_usd`. Any case is taken, and a bare currency "
            f"means its USD index: `BTC` is `btc_usd`. At most {tickers.MAX_LENGTH} characters."
        ),
        parse_value=_ticker,
        parse_literal=_written(_ticker),
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description=(
            "A moment in ISO 8601 with its time zone, as `2026-01-31T09:30:00Z`; without a zone it "
            "is refused. Answers are in UTC and end in `Z`."
        ),
        serialize=utc_text,
        parse_value=_datetime,
        parse_literal=_written(_datetime),
    ),
    date: strawberry.scalar(
        name="Date",
        description="A UTC calendar day, as `2026-01-31`.",
        serialize=date.isoformat,
        parse_value=_date,
        parse_literal=_written(_date),
    ),
    Timestamp: strawberry.scalar(
        name="Timestamp",
        description="Whole UNIX seconds, as a JSON number that does not end in 2038.",
        serialize=int,
    ),
    Interval: strawberry.scalar(
        name="Interval",
        description=(
            f"The length of a candle: {', '.join(f'`{name}`' for name in intervals.INTERVALS)}. "
            "`m` is a minute and `mo` a month; weeks begin on Mondays."
        ),
        parse_value=_interval,
        parse_literal=_written(_interval),
    ),
    ZoneInfo: strawberry.scalar(
        name="TimeZone",
        description="A time zone by its IANA name, as `Europe/Berlin` or `UTC`.",
        parse_value=_time_zone,
        parse_literal=_written(_time_zone),
    ),
    Percent: strawberry.scalar(
        name="Percent",
        description=(
            "A share of a whole, as `0.5%`: a number above 0 and below 10,000, with at most 4 "
            "decimals, and its sign."
        ),
        serialize=percent_text,
        parse_value=_percent,
        parse_literal=_written(_percent),
    ),
    timedelta: strawberry.scalar(
        name="Duration",
        description=(
            "A length of time: a whole number above 0 and `s`, `m`, `h`, `d` or `w`, as `90s`, "
            f"`24h` or `7d`; at most {LONGEST.days:,} days."
        ),
        serialize=duration_text,
        parse_value=_duration,
        parse_literal=_written(_duration),
    ),
}
