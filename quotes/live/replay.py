"""Pages of the log behind the feed's tail, for subscribers that catch up."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlmodel.ext.asyncio.session import AsyncSession

from quotes import metrics
from quotes.database.errors import UnavailableError
from quotes.database.log import partitions, stream
from quotes.database.log.partitions import Book
from quotes.database.models import Quote
from quotes.database.outages import Outage
from quotes.database.sessions import Sessions
from quotes.live.turns import Turns

if TYPE_CHECKING:
    from quotes.live.replica import Replica

PAGE = 50  # quotes a turn: written within some 2 ms, in one round of the event loop
MAX_PAGES = 128  # in memory, some 100 KB each
RETRY = 0.5  # seconds before a lost database is tried again

_WAITS = metrics.LANE_WAITS.labels("replays")

Page = tuple[Sequence[Quote], int]  # and the seq up to which it is complete


class Replay:
    """Reads pages for one subscriber after the other, each page once for all who want it.

    What is read stays true, since the log only grows: so equal pages are shared. At most `turns`
    pages are read, or handed out, at once.
    """

    def __init__(self, sessions: Sessions, turns: int) -> None:
        self._sessions = sessions
        self.replica: Replica | None = None  # read in place of the primary
        self._turns = Turns(turns)
        self._outage = Outage("replay")
        self._book: Book | None = None  # of this log, up to some seq
        self._era = 0  # incremented when the log was replaced
        self._pages: dict[tuple[int, frozenset[str] | None], asyncio.Task[Page]] = {}

    async def page(self, after: int, upto: int, tickers: Collection[str] | None) -> Page:
        """The streamed quotes from there on, at most PAGE of them, and how far they reach.

        A lost database is waited for. Raises of errors.DatabaseError for any other cause, and
        stream.RetiredError.
        """
        async with self.turn():
            return await asyncio.shield(self._shared(after, upto, tickers))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn as for a page, for what is in memory already."""
        began = time.monotonic()
        async with self._turns.turn():
            _WAITS.observe(time.monotonic() - began)
            await asyncio.sleep(0)  # who has its turn at once lets others have the next round
            yield

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return self._turns.waiting

    def forget(self) -> None:
        """Of a log that is no longer the one that was read."""
        self._book = None
        self._era += 1
        self._pages.clear()

    def _shared(
        self, after: int, upto: int, tickers: Collection[str] | None
    ) -> "asyncio.Task[Page]":
        key = (after, None if tickers is None else frozenset(tickers))
        task = self._pages.pop(key, None)
        found = task is not None and not _failed(task)
        metrics.REPLAY_PAGES.labels("memory" if found else "database").inc()
        if task is None or not found:
            task = asyncio.create_task(self._read(after, upto, key[1]), name="replay-page")
            task.add_done_callback(_failed)  # so that one whose readers all left warns of nothing
        self._pages[key] = task
        if len(self._pages) > MAX_PAGES:
            del self._pages[next(iter(self._pages))]
        return task

    async def _read(self, after: int, upto: int, tickers: frozenset[str] | None) -> Page:
        while True:
            try:
                page = await self._from_either(after, upto, tickers)
            except UnavailableError as error:
                self._outage.failed(error)
                await asyncio.sleep(RETRY)
            else:
                self._outage.recovered()
                return page

    async def _from_either(self, after: int, upto: int, tickers: frozenset[str] | None) -> Page:
        async def read(sessions: Sessions) -> Page:
            async with sessions() as session:
                own = sessions is self._sessions
                book = await self._book_upto(session, upto, keep=own)
                return await stream.page(
                    session, book, after=after, upto=upto, limit=PAGE, tickers=tickers
                )

        if (replica := self.replica) is None:
            return await read(self._sessions)
        return await replica.read(lambda: read(replica.replays), lambda: read(self._sessions))

    async def _book_upto(self, session: AsyncSession, upto: int, *, keep: bool) -> Book:
        """One read of the primary serves all pages until the log has grown.

        One of a standby serves its own page alone, which is read anew where that was none of ours.
        """
        if self._book is not None and self._book.upto >= upto:
            return self._book
        era = self._era
        book = await partitions.book(session)
        if keep and era == self._era:
            self._book = book
        return book


def _failed(task: "asyncio.Task[Page]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
