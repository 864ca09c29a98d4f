"""Where subscribers without a cursor begin: each ticker's newest quote, at one place of the log."""

import asyncio
from collections.abc import Sequence

from quotes import store
from quotes.feed import Feed
from quotes.models import Quote

MAX_KEPT = 256  # sets of tickers; any more are read again

Snapshot = tuple[int, Sequence[Quote]]


class Snapshots:
    """Reads each snapshot once for all who ask between two quotes, and one at a time.

    So thousands who come at once after a restart neither wait for each other's connection nor use
    up the pool.
    """

    def __init__(self, sessions: store.Sessions, feed: Feed) -> None:
        self._sessions = sessions
        self._feed = feed
        self._reading = asyncio.Lock()
        self._kept: dict[frozenset[str] | None, Snapshot] = {}

    async def now(self, tickers: frozenset[str] | None) -> Snapshot:
        """The end of the log, and the newest quote of each ticker up to there and not beyond.

        Of all tickers with None.

        What comes beyond comes live, so cursors never go back and the two join without a seam.
        """
        async with self._reading:
            snapshot = self._kept.pop(tickers, None)
            if snapshot is None or snapshot[0] != self._feed.last:
                snapshot = await self._read(tickers)
            if len(self._kept) >= MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[tickers] = snapshot
        return snapshot

    async def _read(self, tickers: frozenset[str] | None) -> Snapshot:
        async with self._sessions() as session:
            end = await store.high_water(session)
            names = await store.tickers(session) if tickers is None else tickers
            return end, await store.newest(session, names, upto=end)
