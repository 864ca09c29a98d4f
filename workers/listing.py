"""Receiving the exchange's list of its indexes, which patterns in QUOTES_TICKERS select from.

At the start of a worker and every hour. While the exchange is away, the last list is used, which
is in the database.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.background import Ended, background
from quotes.database import indexes, minutes
from quotes.database.collected import Collected
from quotes.database.errors import DatabaseError
from quotes.database.models import Failure
from quotes.database.sessions import Sessions
from quotes.market.coverage import MINUTE
from quotes.market.sources import Cause, Source, SourceError
from workers.conditions import Condition

log = structlog.get_logger(__name__)

EVERY = 3_600.0  # seconds from one list to the next
CONFIRM = 10.0  # seconds until what is missing from a list is looked for in another
FIRST_DELAY, LONGEST_DELAY = 2.0, 300.0  # seconds before a list is requested again, doubling
START = 10.0  # seconds that a worker waits for its first list, where it knows none
REMINDER = 600.0  # seconds until it is logged again that there is none
NAMED = 20  # new indexes that a line of the log names


class Listing:
    """Receives the list, and stores it for all processes. Run by `open_listing`."""

    def __init__(self, source: Source, sessions: Sessions, collected: Collected) -> None:
        self._source = source
        self._sessions = sessions
        self._collected = collected
        self._unavailable = Condition(log, "exchange_list_unavailable", every=REMINDER)
        self.tried = asyncio.Event()  # set after the first attempt

    async def run(self) -> None:
        """Receive it again and again; ends only by cancellation."""
        delay = FIRST_DELAY
        while True:
            try:
                await self.refresh()
            except (SourceError, DatabaseError) as error:
                known = len(self._collected.tickers)
                self._unavailable.persists(reason=str(error), collected_meanwhile=known)
                pause, delay = delay, min(LONGEST_DELAY, 2 * delay)
            else:
                self._unavailable.ended()
                pause, delay = EVERY, FIRST_DELAY
            self.tried.set()
            await asyncio.sleep(pause)

    async def refresh(self) -> None:
        """Raises SourceError and DatabaseError."""
        async with self._sessions() as session:
            before = await indexes.listed(session)
        names = await self._source.index_names()
        if before - names:  # one odd answer is not trusted
            await asyncio.sleep(CONFIRM)
            names |= await self._source.index_names()
        gone = await self._sessions.transact(partial(self._store, names=names))
        await self._collected.read()
        self._log(names - before, gone, names)

    async def _store(self, session: AsyncSession, names: Collection[str]) -> frozenset[str]:
        """Returns which of the tickers collected so far are gone."""
        selection = self._collected.selection
        gone = await indexes.replace(session, names)
        ended = frozenset(filter(selection.matches, gone)).difference(selection.names)
        await minutes.record_failures(session, [_failure(ticker) for ticker in sorted(ended)])
        return ended

    def _log(self, new: frozenset[str], gone: frozenset[str], names: frozenset[str]) -> None:
        selected = sorted(new & self._collected.tickers)
        log.info(
            "exchange_list_received",
            indexes=len(names),
            collected=len(self._collected.tickers),
            new=len(selected),
            named=selected[:NAMED],
        )
        if gone:
            log.warning("indexes_gone", tickers=sorted(gone), reason="no longer on its list")
        if unmatched := self._collected.selection.unmatched(names):
            log.warning(
                "tickers_unmatched",
                patterns=unmatched,
                reason=f"none of the exchange's {len(names)} indexes has such a name",
                how="correct QUOTES_TICKERS; `all` selects every index",
            )


def _failure(ticker: str) -> Failure:
    """Of the next minute, which is the first that is not requested."""
    now = datetime.now(UTC)
    return Failure(
        ticker=ticker,
        minute=now.replace(second=0, microsecond=0) + MINUTE,
        cause=Cause.UNKNOWN_INDEX.value,
        message=f"{ticker}: the exchange no longer lists an index of this name.",
        failed_at=now,
        attempts=1,
    )


@asynccontextmanager
async def open_listing(listing: Listing, collected: Collected, ended: Ended) -> AsyncIterator[None]:
    """Run it, where a pattern needs it. `ended` is called with its task when that ends."""
    selection = collected.selection
    if not selection.patterns:
        yield
        return
    async with background(listing.run(), "listing", ended):
        if selection.unmatched(collected.tickers):  # else the first minute would lack them
            with suppress(TimeoutError):
                async with asyncio.timeout(START):
                    await listing.tried.wait()
        yield
