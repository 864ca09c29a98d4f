"""Where a follower is, as the text that it hands back: in the stream, or still in the history.

The stream's cursors are the service's. But for one question they are opaque here, too: whether a
quote of the history was committed after the history was begun, and so is going to be streamed.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Self

from quotes.client.errors import QuotesError

_STREAM = re.compile(r"s(\d+)(-[0-9a-f]+)?", re.ASCII)
_HISTORY = re.compile(r"h(-?\d+)/([^/]*)/(.+)", re.ASCII)


class UnknownCursorError(QuotesError, ValueError):
    """A cursor is none that this client or the service has given."""


@dataclass(frozen=True, slots=True)
class HistoryPlace:
    """Behind a quote of the history, which is in the order of minutes, then of tickers."""

    at: datetime
    ticker: str  # before all of the minute's if it is empty
    end: str  # the stream's cursor from which to go on after the history

    @classmethod
    def of(cls, cursor: str) -> Self | None:
        """None for a place in the stream."""
        if (match := _HISTORY.fullmatch(cursor)) is None:
            return None
        at, ticker, end = match.groups()
        return cls(datetime.fromtimestamp(int(at), UTC), ticker, end)

    def __str__(self) -> str:
        return f"h{ceil(self.at.timestamp())}/{self.ticker}/{self.end}"


def number(cursor: str) -> int:
    """A quote's place in the order of commits."""
    if match := _STREAM.fullmatch(cursor):
        return int(match[1])
    raise UnknownCursorError(
        "The service has cursors that this version of the client does not know: install the newer."
    )
