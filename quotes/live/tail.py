"""The tail: the newest quotes of the log in memory, and an event for each time that it grows."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import NamedTuple

from quotes.database.log.fingerprints import fingerprint
from quotes.database.models import Quote

MAX_QUOTES = 10_000  # some 10 MB: 250 tickers for 40 minutes


class Place(NamedTuple):
    """How far the log has been read. Places of different eras cannot be compared."""

    era: int
    seq: int


class Tail:
    """Every streamed quote with floor < seq <= last, in order."""

    def __init__(self) -> None:
        self._quotes: deque[Quote] = deque()
        self._era = 0  # incremented when it is replaced, which invalidates what was derived from it
        # Replaced when set, so that all waiters wake at once. Subscribers to a single ticker wait
        # on an event of their own, and are not woken by other tickers' quotes.
        self._grown = asyncio.Event()
        self._grown_by: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.floor = 0
        self.last: int | None = None  # None while nothing is known of the log

    @property
    def newest(self) -> Quote | None:
        return self._quotes[-1] if self._quotes else None

    @property
    def place(self) -> Place:
        return Place(self._era, self.last or 0)

    def after(self, seq: int, tickers: Collection[str] | None) -> list[Quote]:
        """Those after `seq`, which is not below `floor`; of `tickers` only, where given."""
        newest_first = takewhile(lambda quote: quote.seq > seq, reversed(self._quotes))
        return [quote for quote in newest_first if tickers is None or quote.ticker in tickers][::-1]

    def changes(self, since: Place) -> Sequence[Quote] | None:
        """The quotes committed after a place that this process had reached, in order.

        None where they are not all in memory: after a backfill, or after too long.
        """
        if since.era != self._era or since.seq < self.floor:
            return None
        quotes = self.after(since.seq, None)
        return quotes if since.seq + len(quotes) >= (self.last or 0) else None

    def was_replaced(self, found: Sequence[Quote], end: int) -> bool:
        """Whether the log is another now, as after restoring a backup.

        It ends at `end`, and `found` is what it holds from the newest known quote's seq on.
        """
        if self.last is None:
            return False
        known = self.newest
        if end < self.last:
            return True
        return known is not None and (not found or fingerprint(found[0]) != fingerprint(known))

    def replace(self, quotes: Sequence[Quote], last: int) -> None:
        """Hold the newest MAX_QUOTES of a log that ends at `last`, or all of them."""
        self.floor = quotes[0].seq - 1 if len(quotes) == MAX_QUOTES else 0
        self._quotes = deque(quotes)
        self.last = last
        self._era += 1
        self._wake({*self._grown_by})

    def extend(self, quotes: Sequence[Quote], last: int) -> None:
        """Add the streamed quotes up to `last`, and drop the oldest beyond MAX_QUOTES."""
        self._quotes.extend(quotes)
        while len(self._quotes) > MAX_QUOTES:
            self.floor = self._quotes.popleft().seq
        self.last = last
        self._wake({quote.ticker for quote in quotes})

    async def grown(self, tickers: Collection[str] | None = None) -> None:
        """Wait until it grows; where `tickers` is a single one, by a quote of that ticker."""
        if tickers is not None and len(tickers) == 1:
            await self._grown_by[next(iter(tickers))].wait()
        else:
            await self._grown.wait()

    def _wake(self, tickers: Collection[str]) -> None:
        events = [self._grown_by.pop(ticker) for ticker in tickers if ticker in self._grown_by]
        grown, self._grown = self._grown, asyncio.Event()
        for event in (grown, *events):
            event.set()
