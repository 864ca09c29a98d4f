"""The domain's enums as the schema shows them, each value with its words.

Schema types take them from here: one that was imported bare would be shown without words.
"""

from enum import Enum

import strawberry

from quotes.database.models import Origin
from quotes.market.sources import Cause

__all__ = ["Cause", "Origin"]


def _describe(enum: type[Enum], *, name: str, description: str, values: dict[str, str]) -> None:
    """Make an enum of the domain one of the schema's, each value with its words."""
    strawberry.enum(enum, name=name, description=description)
    for value in enum.__strawberry_definition__.values:  # type: ignore[attr-defined]
        value.description = values[value.name]


_describe(
    Origin,
    name="Origin",
    description="How a quote came to be stored.",
    values={
        "LIVE": "Received from the exchange within the quote's own minute.",
        "REPAIRED": "Filled in soon after, from the exchange's chart: an average, and streamed.",
        "BACKFILLED": "History from the exchange's chart: an average, and never streamed.",
    },
)
_describe(
    Cause,
    name="FailureCause",
    description="Why a ticker has no quote for a minute.",
    values={
        "UNREACHABLE": "No connection to the exchange could be made or held.",
        "TIMEOUT": "The exchange did not answer in time.",
        "RATE_LIMITED": "The exchange answers that it receives too many requests.",
        "UNAVAILABLE": "The exchange says that it cannot answer just now.",
        "MAINTENANCE": "The exchange is under maintenance.",
        "REFUSED": "The exchange does not answer us: banned, switched off, or its API changed.",
        "UNKNOWN_INDEX": "The exchange has no index of this name.",
        "NO_PRICE": "The exchange has the index but no price for it now.",
        "BAD_PRICE": "What the exchange gave is no price: zero, negative, or no number.",
        "BAD_ANSWER": "The exchange's answer could not be understood.",
        "WRONG_ENVIRONMENT": "A test exchange answered for the real one, or the other way round.",
        "OUTSIDE_MINUTE": "By the exchange's clock the price is not of this minute.",
        "FROZEN": "The exchange has made no new price in this minute.",
        "LOCKED": "The exchange has locked the index.",
        "NOT_ASKED": "The exchange was not queried, or its answer could not be recorded.",
    },
)
