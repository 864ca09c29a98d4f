"""Whether a price is as fresh as its reader needs, and if not, what there is and why."""

from collections.abc import Iterable
from datetime import timedelta

from quotes.api.errors import Code, Refusal
from quotes.api.scalars import duration_text, utc_text
from quotes.api.types import Quote
from quotes.database import models
from quotes.market.sources import Cause


def require(
    ticker: str, quote: Quote | None, failures: Iterable[models.Failure], max_age: timedelta
) -> None:
    """Raises Refusal where there is no quote, or its price is older than `max_age`."""
    if quote is not None and quote.age_seconds <= max_age.total_seconds():
        return
    since = [each for each in failures if quote is None or each.minute > quote.at]
    cause = since[0].cause if since else Cause.NOT_ASKED.value
    age = None if quote is None else quote.age_seconds
    told = "has no price yet" if age is None else f"was last priced {age:.0f} seconds ago"
    raise Refusal(
        Code.STALE_PRICE,
        f"{ticker} {told}, which is not within {duration_text(max_age)} ({cause}). "
        "`extensions` hold the last good price; ask again, or with a longer `maxAge`.",
        ticker=ticker,
        lastGood=None if quote is None else _shown(quote),
        ageSeconds=age,
        cause=cause,
    )


def _shown(quote: Quote) -> dict[str, object]:
    return {
        "price": quote.price,
        "at": utc_text(quote.at),
        "observedAt": utc_text(quote.observed_at),
        "source": quote.source,
        "origin": quote.origin.value,
        "cursor": quote.cursor,
    }
