"""Where a subscription begins: at each ticker's newest quote, or at the quote of its cursor."""

from collections.abc import Sequence
from dataclasses import dataclass

from quotes.database.log import store, stream
from quotes.database.models import Quote
from quotes.database.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Of these tickers, or of all with None."""

    sessions: Sessions
    tickers: frozenset[str] | None

    async def read(self) -> tuple[int, Sequence[Quote]]:
        """The end of the log, and the newest quote of each ticker up to there.

        Later quotes are delivered live, so cursors only increase and nothing is left out between.
        """
        async with self.sessions() as session:
            end = await store.high_water(session)
            names = await store.tickers(session) if self.tickers is None else self.tickers
            return end, await store.newest(session, names, upto=end)


@dataclass(frozen=True, slots=True)
class StoredQuote:
    """The quote with this seq."""

    sessions: Sessions
    seq: int

    async def read(self) -> Quote | None:
        """None where the log has none: it was removed, or never existed."""
        async with self.sessions() as session:
            return await stream.with_seq(session, self.seq)
