"""Where a client stands, as text that it hands back: a seq of the stream, a minute of a page.

Opaque to clients. The two kinds differ in their first letter, so that one given for the other is
refused with a sentence rather than taken for a place.
"""

from datetime import UTC, datetime

from quotes.api.errors import bad_input

MAX_LENGTH = 24  # characters
_STREAM, _PAGE = "s", "p"
_LARGEST_SEQ = 2**63 - 1  # a bigint's
_LAST_SECOND = 253_402_214_400  # the last day that the calendar holds, 9999-12-31, begins


def stream(seq: int) -> str:
    return f"{_STREAM}{seq}"


def page(minute: datetime) -> str:
    return f"{_PAGE}{int(minute.timestamp())}"


def seq_of(cursor: str) -> int:
    """Raises Refusal where `cursor` is not one that `stream` made."""
    wanted = "the `cursor` of a quote, as queries and priceUpdates give it"
    return _number(cursor, _STREAM, wanted, largest=_LARGEST_SEQ)


def minute_of(cursor: str) -> datetime:
    """Raises Refusal where `cursor` is not one that `page` made."""
    wanted = "an edge's `cursor` or pageInfo's `endCursor`/`startCursor`"
    return datetime.fromtimestamp(_number(cursor, _PAGE, wanted, largest=_LAST_SECOND), UTC)


def _number(cursor: str, kind: str, wanted: str, *, largest: int) -> int:
    digits = cursor[1:]
    if cursor[:1] == kind and digits.isascii() and digits.isdigit() and len(digits) < MAX_LENGTH:
        number = int(digits)
        if number <= largest:
            return number
    raise bad_input(f"That cursor is not one of ours for this place; give {wanted}.")
