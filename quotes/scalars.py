"""The schema's own scalars: how each is read from a request and written to an answer."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from quotes import tickers
from quotes.refusals import bad_input

Ticker = NewType("Ticker", str)
Timestamp = NewType("Timestamp", int)

MAX_SHOWN = 40  # characters of a wrong value that its refusal repeats


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
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description=(
            "A moment in ISO 8601 with its time zone, as `2026-01-31T09:30:00Z`; without a zone it "
            "is refused. Answers are in UTC and end in `Z`."
        ),
        serialize=utc_text,
        parse_value=_datetime,
    ),
    date: strawberry.scalar(
        name="Date",
        description="A UTC calendar day, as `2026-01-31`.",
        serialize=date.isoformat,
        parse_value=_date,
    ),
    Timestamp: strawberry.scalar(
        name="Timestamp",
        description="Whole UNIX seconds, as a JSON number that does not end in 2038.",
        serialize=int,
    ),
}
