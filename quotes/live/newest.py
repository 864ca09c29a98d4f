"""The newest quote of each ticker, in memory, with a bounded age."""

from collections.abc import Mapping

from quotes.database.models import Quote
from quotes.database.sessions import Sessions
from quotes.live.feed import Feed
from quotes.live.single_flight import SingleFlight
from quotes.live.snapshots import Snapshot
from quotes.live.tail import Place

BOUND = 0.1  # seconds; whatever was committed that long before a request is in its answer


class Newest:
    """Brings itself up to date from the feed whenever it is read."""

    def __init__(self, feed: Feed, sessions: Sessions, single_flight: SingleFlight) -> None:
        self._feed = feed
        self._single_flight = single_flight
        self._all = Snapshot(sessions, None)
        self._place = Place(era=-1, seq=0)  # nothing read yet
        self._quotes: dict[str, Quote] = {}

    async def quotes(self) -> Mapping[str, Quote] | None:
        """By ticker; None where the feed is not known to be current.

        Raises DatabaseError.
        """
        if not await self._feed.current(BOUND):
            return None
        changes = self._feed.tail.changes(self._place)
        if changes is None:
            await self._read()
        else:
            self._place = max(self._place, self._feed.tail.place)
            for quote in changes:
                self._add(quote)
        return self._quotes

    async def _read(self) -> None:
        """From the table, at the start and after a backfill, whose quotes are not in the feed."""
        era = self._feed.tail.place.era
        seq, quotes = await self._single_flight.read(self._all)
        place = Place(era, seq)
        if place > self._place:
            self._place = place
            self._quotes = {quote.ticker: quote for quote in quotes}

    def _add(self, quote: Quote) -> None:
        known = self._quotes.get(quote.ticker)
        if known is None or quote.minute > known.minute:
            self._quotes[quote.ticker] = quote
