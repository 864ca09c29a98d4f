"""The live tail: what was committed last, in memory, and the bell that says there is more.

A notification, a one-second timer and a reconnect all do the same: read what is after the last
seq. A subscriber is a cursor over this log; whoever is behind the tail reads the table until it
has caught up.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import takewhile

import structlog

from quotes import connections, store
from quotes.models import Quote

log = structlog.get_logger()

TIMER = 1.0  # seconds; the most that a lost notification can cost
READ_TIMEOUT = 10.0  # seconds for one read of what is new
PROBE_EVERY = 2.0  # seconds between two signs of life asked of the LISTEN connection
PROBE_TIMEOUT = 3.0  # seconds; with the line above, a silent death is noticed within five
RETRY = 0.5  # seconds before a lost database is tried again
PAGE = 1_000  # quotes a read, of the table or of a process that was away for long
TAIL = 10_000  # quotes in memory, some 10 MB: 250 tickers for 40 minutes


class CursorAheadError(Exception):
    """A cursor is beyond the end of the log: made up, or from before the database was replaced."""


class Feed:
    """The end of the log, as far as this process has read it. Built and run by `open_feed`."""

    def __init__(
        self,
        sessions: store.Sessions,
        connect: connections.Connect,
    ) -> None:
        self._sessions = sessions
        self._connect = connect
        self._bell = asyncio.Event()
        self._grown = asyncio.Event()  # replaced at each growth, so that all waiters wake at once
        self._tail: deque[Quote] = deque()
        self._floor = 0  # every streamed quote after this seq, up to `last`, is in the tail
        self.last: int | None = None  # the high-water seq; None until the database first answered
        self.read_at: datetime | None = None  # when `last` was last seen to be the newest
        self.listening = False  # whether the bell is connected; the timer works without it

    async def position(self) -> int:
        """The end of the log now. Raises TimeoutError where the database never answered yet."""
        if self.last is None:
            async with asyncio.timeout(READ_TIMEOUT):
                while self.last is None:
                    await self._grown.wait()
        return self.last

    async def reach(self, seq: int) -> None:
        """Wait until this process has read up to `seq`, which another may have told already.

        Raises CursorAheadError where no such seq comes within two readings of the log.
        """
        if await self.position() >= seq:
            return
        self._bell.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * TIMER):
                while self.last is not None and self.last < seq:
                    await self._grown.wait()
        if self.last is None or self.last < seq:
            raise CursorAheadError

    async def follow(
        self, after: int, tickers: Collection[str] | None = None
    ) -> AsyncIterator[Quote]:
        """Every streamed quote after seq `after`, in order, once each; then each new one, for ever.

        Of `tickers` only, where given. A database that is away is waited for. Raises
        CursorAheadError where the log turns out to end before `after`.
        """
        cursor = after
        while True:
            last = await self._beyond(cursor)
            quotes: Sequence[Quote]
            if cursor >= self._floor:
                quotes, cursor = self._recent(cursor, tickers), last
            else:
                quotes, cursor = await self._older(cursor, last, tickers)
            for quote in quotes:
                yield quote

    async def _beyond(self, cursor: int) -> int:
        while (last := await self.position()) == cursor:
            await self._grown.wait()
        if last < cursor:
            raise CursorAheadError
        return last

    def _recent(self, after: int, tickers: Collection[str] | None) -> list[Quote]:
        newest_first = takewhile(lambda quote: quote.seq > after, reversed(self._tail))
        return [quote for quote in newest_first if tickers is None or quote.ticker in tickers][::-1]

    async def _older(
        self, after: int, upto: int, tickers: Collection[str] | None
    ) -> tuple[Sequence[Quote], int]:
        """One page of the table, and the seq that it reaches to."""
        while True:
            try:
                async with self._sessions() as session:
                    quotes = await store.stream(
                        session, after=after, upto=upto, limit=PAGE, tickers=tickers
                    )
            except store.LOST as error:
                log.warning("follower_waits_for_database", reason=repr(error))
                await asyncio.sleep(RETRY)
            else:
                return quotes, upto if len(quotes) < PAGE else quotes[-1].seq

    async def run(self) -> None:
        """Read the log for ever; ends only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="feed-listen")
            tasks.create_task(self._read(), name="feed-read")

    async def _read(self) -> None:
        lost = False
        while True:
            self._bell.clear()
            try:
                async with asyncio.timeout(READ_TIMEOUT):
                    await self._catch_up()
            except store.LOST as error:
                if not lost:
                    log.warning("feed_lost_database", last=self.last, reason=repr(error))
                lost = True
            else:
                if lost:
                    log.info("feed_found_database", last=self.last)
                lost = False
            with suppress(TimeoutError):
                async with asyncio.timeout(TIMER):
                    await self._bell.wait()

    async def _catch_up(self) -> None:
        async with self._sessions() as session:
            high = await store.high_water(session)
            if self.last is None or high < self.last:
                self._begin(high)
            while (last := self.last or 0) < high:
                quotes = await store.stream(session, after=last, upto=high, limit=PAGE)
                self._grow(quotes, high if len(quotes) < PAGE else quotes[-1].seq)
        self.read_at = datetime.now(UTC)

    def _begin(self, high: int) -> None:
        if self.last is not None:
            log.error("feed_log_went_back", last=self.last, found=high)
        self._tail.clear()
        self._floor = high
        self._advance(high)

    def _grow(self, quotes: Sequence[Quote], upto: int) -> None:
        self._tail.extend(quotes)
        while len(self._tail) > TAIL:
            self._floor = self._tail.popleft().seq
        self._advance(upto)

    def _advance(self, last: int) -> None:
        self.last = last
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except store.LOST as error:
                log.warning("feed_lost_bell", reason=repr(error))
            await asyncio.sleep(RETRY)

    async def _hear(self) -> None:
        """Hold one LISTEN connection until it is lost or falls silent."""
        connection = await self._connect()
        try:
            await connection.add_listener(store.DOORBELL, lambda *_: self._bell.set())
            self.listening = True
            self._bell.set()  # what was rung before we listened
            while True:
                await asyncio.sleep(PROBE_EVERY)
                await connection.execute("SELECT 1", timeout=PROBE_TIMEOUT)
        finally:
            self.listening = False
            connection.terminate()


@asynccontextmanager
async def open_feed(
    sessions: store.Sessions, connect: connections.Connect
) -> AsyncIterator[tuple[Feed, asyncio.Task[None]]]:
    """A running feed and the task that runs it, whose end other than by this block is a fault."""
    feed = Feed(sessions, connect)
    task = asyncio.create_task(feed.run(), name="feed")
    try:
        yield feed, task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
