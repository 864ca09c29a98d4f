"""Which tickers are collected now: what QUOTES_TICKERS selects of what the exchange lists.

Workers receive the list and store it, and every process reads it here. Where no pattern is in
QUOTES_TICKERS, nothing is read. It is also remembered of which the exchange makes no price.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from quotes.background import Ended, background
from quotes.database import indexes
from quotes.database.errors import DatabaseError
from quotes.database.models import Failure
from quotes.database.sessions import Sessions
from quotes.market.selection import Selection
from quotes.market.sources import HALTS
from quotes.settings import SettingsError

REFRESH = 5.0  # seconds from one read of the list to the next


class Collected:
    """As last read. Kept up to date by `open_collected`."""

    def __init__(self, selection: Selection, sessions: Sessions) -> None:
        self.selection = selection
        self._sessions = sessions
        self.in_order = selection.tickers(())
        self.tickers = frozenset(self.in_order)  # the same object until they change
        # By ticker, the last minute that failed with one of HALTS, as far as was seen. It may stay
        # when the halt is over: only prices of minutes before it are stale, and old by then.
        self.halted = dict[str, datetime]()
        # Called whenever they have changed, after the change, with those that are new.
        self.changed: Callable[[frozenset[str]], None] = lambda _: None

    async def read(self) -> None:
        """Raises DatabaseError; what was read last then stays."""
        if not self.selection.patterns:
            return
        async with self._sessions() as session:
            listed = await indexes.listed(session)
        in_order = self.selection.tickers(listed)
        tickers, before = frozenset(in_order), self.tickers
        if tickers != before:
            self.in_order, self.tickers = in_order, tickers
            self.changed(tickers - before)

    def see(self, failures: Iterable[Failure]) -> None:
        """Remember those that were halts."""
        self.halted |= {each.ticker: each.minute for each in failures if each.cause in HALTS}

    async def run(self) -> None:
        """Read them again and again; ends only by cancellation."""
        while True:
            with suppress(DatabaseError):
                await self.read()
            await asyncio.sleep(REFRESH)


@asynccontextmanager
async def open_collected(collected: Collected, ended: Ended) -> AsyncIterator[Collected]:
    """Up to date, unless the database is away. `ended` is called with its task when that ends."""
    if not collected.selection.patterns:
        yield collected
        return
    with suppress(DatabaseError, SettingsError):  # the latter is met by the task, too, and ends it
        await collected.read()
    async with background(collected.run(), "collected", ended):
        yield collected
