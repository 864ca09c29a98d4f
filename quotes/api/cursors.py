"""Where a client is, as text that it hands back: a quote of the stream, a minute of a page.

Opaque to clients. The two kinds differ in their first letter, so that one given for the other is
refused with a sentence rather than taken for a place.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from quotes.api.errors import bad_input
from quotes.database.log import fingerprints
from quotes.database.models import Quote

BEGINNING = "s0"  # of the stream: before its first quote
_STREAM = re.compile(rf"s(\d{{1,19}})-([0-9a-f]{{{fingerprints.LENGTH}}})", re.ASCII)
_PAGE = re.compile(r"p(\d{1,12})", re.ASCII)
_LARGEST_SEQ = 2**63 - 1  # a bigint's
_LAST_SECOND = 253_402_214_400  # the last day that the calendar holds, 9999-12-31, begins


@dataclass(frozen=True, slots=True)
class Place:
    """A quote of the stream; seq 0, without a fingerprint, is the stream's beginning."""

    seq: int
    fingerprint: str | None


def stream(quote: Quote) -> str:
    return f"s{quote.seq}-{fingerprints.fingerprint(quote)}"


def page(minute: datetime) -> str:
    return f"p{int(minute.timestamp())}"


def place_of(cursor: str) -> Place:
    """Raises RefusedError where `cursor` is not one that `stream` made."""
    if cursor == BEGINNING:
        return Place(0, None)
    if (match := _STREAM.fullmatch(cursor)) and 0 < int(match[1]) <= _LARGEST_SEQ:
        return Place(int(match[1]), match[2])
    raise _foreign("the `cursor` of a quote, as queries and priceUpdates give it")


def minute_of(cursor: str) -> datetime:
    """Raises RefusedError where `cursor` is not one that `page` made."""
    if (match := _PAGE.fullmatch(cursor)) and int(match[1]) <= _LAST_SECOND:
        return datetime.fromtimestamp(int(match[1]), UTC)
    raise _foreign("an edge's `cursor` or pageInfo's `endCursor`/`startCursor`")


def _foreign(wanted: str) -> Exception:
    return bad_input(f"That cursor does not belong here; give {wanted}.")
