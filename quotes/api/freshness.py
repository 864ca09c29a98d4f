"""Whether a price is as fresh, and as sure, as its reader needs; if not, what there is and why."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from quotes.api.errors import Code, RefusedError
from quotes.api.scalars import duration_text, percent_text, utc_text
from quotes.api.types import Quote
from quotes.database import models
from quotes.database.heartbeats import Heartbeat
from quotes.market.sources import HALTS, Cause
from quotes.market.staleness import is_stale

MISSING_AFTER = timedelta(seconds=60)  # several heartbeats; a slow database delays one
NOT_REQUESTED = (
    "It is not requested, though a worker and a scheduler are running: they may have other "
    "QUOTES_TICKERS, or not the same QUOTES_REDIS_URL."
)


def failed_since(quote: models.Quote | None, failure: models.Failure) -> bool:
    """Whether the failure explains why there is no newer quote."""
    return quote is None or failure.minute > quote.minute


def stale_reason(
    quote: models.Quote | None, failure: models.Failure | None, idle: str, now: datetime
) -> str | None:
    """Why a ticker has no fresh price, as a sentence; None where it has one."""
    halted = failure.minute if failure is not None and failure.cause in HALTS else None
    if quote is not None and not is_stale(quote.minute, quote.observed_at, now, halted):
        return None
    if failure is not None and failed_since(quote, failure):
        return failure.message
    return idle


def idle_reason(heartbeats: Mapping[models.Part, Heartbeat]) -> str:
    """Why nothing was requested lately, as a sentence."""
    reasons = (part_problem(part, heartbeats.get(part)) for part in models.Part)
    return next((reason for reason in reasons if reason is not None), NOT_REQUESTED)


def part_problem(part: models.Part, last: Heartbeat | None) -> str | None:
    """What keeps a part from its work, as a sentence; None if nothing does."""
    if last is None:
        return f"No {part} has ever been seen: is `quotes {part}` running?"
    if last.age > MISSING_AFTER:
        return f"No {part} has been seen for {_in_words(last.age)}."
    return last.problem


def _in_words(age: timedelta) -> str:
    minutes = age // timedelta(minutes=1)
    if minutes < 2 * 60:
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    hours = minutes // 60
    return f"{hours} hours" if hours < 2 * 24 else f"{hours // 24} days"


def is_fresh(quote: Quote | None, max_age: timedelta) -> bool:
    """Whether there is a quote, and its price is no older than `max_age`."""
    return quote is not None and quote.age_seconds <= max_age.total_seconds()


def require(
    ticker: str, quote: Quote | None, failures: Iterable[models.Failure], max_age: timedelta
) -> None:
    """Raises RefusedError unless it `is_fresh`."""
    if is_fresh(quote, max_age):
        return
    since = [each for each in failures if quote is None or each.minute > quote.at]
    cause = since[0].cause if since else Cause.NOT_ASKED.value
    age = None if quote is None else quote.age_seconds
    state = "has no price yet" if age is None else f"was last priced {age:.0f} seconds ago"
    raise RefusedError(
        Code.STALE_PRICE,
        f"{ticker} {state}, which is not within {duration_text(max_age)} ({cause}). "
        "`extensions` hold the last good price; try again, or with a longer `maxAge`.",
        ticker=ticker,
        lastGood=None if quote is None else _shown(quote),
        ageSeconds=age,
        cause=cause,
    )


def require_within(ticker: str, quote: Quote | None, max_spread: Decimal) -> None:
    """Raises RefusedError unless there is a quote, and its spread is known to be no wider.

    `max_spread` is in percent.
    """
    confidence = None if quote is None else quote.confidence
    if confidence is not None and Decimal(confidence.percent) <= max_spread:
        return
    if quote is None:
        state = f"{ticker} has no price yet"
    elif confidence is None:
        state = f"How far the exchanges that {ticker} is made of are apart is not known"
    else:
        state = f"The exchanges that {ticker} is made of were up to {confidence.percent}% apart"
    raise RefusedError(
        Code.UNCERTAIN_PRICE,
        f"{state}, and {percent_text(max_spread)} is the most that was asked for. "
        "`extensions` hold the last price; try again, or with a larger `maxSpread`.",
        ticker=ticker,
        lastGood=None if quote is None else _shown(quote),
        spread=None if confidence is None else confidence.spread,
        percent=None if confidence is None else confidence.percent,
        maxSpread=percent_text(max_spread),
    )


def _shown(quote: Quote) -> dict[str, object]:
    return {
        "price": quote.price,
        "at": utc_text(quote.at),
        "observedAt": utc_text(quote.observed_at),
        "exactTime": quote.exact_time,
        "source": quote.source,
        "origin": quote.origin.value,
        "cursor": quote.cursor,
    }
