"""A short fingerprint of a quote: it ties the quote's seq to one history of the log.

A database restored from an older copy assigns the same numbers again, to other quotes.
"""

from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quotes.database.models import Quote

LENGTH = 8  # hexadecimal digits: a collision is one in four billion

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)

# The same as `fingerprint`, of a row of `quotes`. PostgreSQL and Python both have md5.
FINGERPRINT = f"""left(md5(
    ticker || ' ' || extract(epoch FROM minute)::bigint || ' ' || price
    || ' ' || (extract(epoch FROM observed_at) * 1000000)::bigint
), {LENGTH})"""


def fingerprint(quote: "Quote") -> str:
    """Of its ticker, minute, price and time: LENGTH hexadecimal digits."""
    minute = (quote.minute - _EPOCH) // _SECOND
    observed = (quote.observed_at - _EPOCH) // _MICROSECOND
    text = f"{quote.ticker} {minute} {quote.price:f} {observed}"
    return md5(text.encode(), usedforsecurity=False).hexdigest()[:LENGTH]
