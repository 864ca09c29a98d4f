"""The live tail: what was committed last, in memory, and the bell that says there is more.

A notification, a one-second timer and a reconnect all do the same: read what is after the last
seq. A subscriber is a cursor over this log; whoever is behind the tail reads the table until it
has caught up.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import takewhile
from typing import NamedTuple

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database import connections, store, stream
from quotes.database.errors import DatabaseError, UnavailableError, translated
from quotes.database.fingerprints import fingerprint
from quotes.database.models import Quote
from quotes.database.outages import Outage
from quotes.live import replay
from quotes.live.replay import Replay
from quotes.live.turns import client

log = structlog.get_logger()

TIMER = 1.0  # seconds; the most that a lost notification can cost
READ_TIMEOUT = 10.0  # seconds for one read of what is new
PROBE_EVERY = 2.0  # seconds between two signs of life asked of the LISTEN connection
PROBE_TIMEOUT = 3.0  # seconds; with the line above, a silent death is noticed within five
RETRY = 0.5  # seconds before a lost database is tried again
LARGEST_READ = 1_000  # quotes, for a process that was away for long
CURRENT_TIMEOUT = 1.0  # seconds that a query waits for the feed before it reads the table itself
TAIL = 10_000  # quotes in memory, some 10 MB: 250 tickers for 40 minutes


Version = tuple[int, int | None]


class CursorLostError(Exception):
    """The log has no such place: a restore from an older copy replaced it, or it was made up."""


class Place(NamedTuple):
    """How far a reader has come. Of two eras nothing can be compared: the log was replaced."""

    era: int
    seq: int


class Feed:
    """The end of the log, as far as this process has read it. Built and run by `open_feed`."""

    def __init__(
        self,
        sessions: store.Sessions,
        connect: connections.Connect,
        replays: Replay,
    ) -> None:
        self._sessions = sessions
        self._connect = connect
        self._replay = replays
        self._bell = asyncio.Event()
        # Replaced when they are set, so that all who wait wake at once. Followers of one ticker
        # have one of their own, and sleep through the others' quotes.
        self._grown = asyncio.Event()
        self._ticked: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._tail: deque[Quote] = deque()
        self._floor = 0  # every streamed quote after this seq, up to `last`, is in the tail
        self.history = 0  # counts up when the log turns out to be another
        self.last: int | None = None  # the high-water seq; None until the database first answered
        self._era = 0  # how often the log was begun anew, for what is kept of it elsewhere
        # When the last complete reading began, by the loop's clock; `_checked` is set by the next.
        self._current_at = float("-inf")
        self._checked = asyncio.Event()
        self.read_at: datetime | None = None  # when `last` was last seen to be the newest
        self.outage = Outage("feed")
        self.listening = False  # whether the bell is connected; the timer works without it

    @property
    def version(self) -> Version:
        """Differs whenever what a query finds may differ."""
        return self.history, self.last

    async def position(self) -> int:
        """The end of the log now. Raises UnavailableError where it was never read yet."""
        if self.last is None:
            try:
                async with asyncio.timeout(READ_TIMEOUT):
                    while self.last is None:
                        await self._grown.wait()
            except TimeoutError:
                raise UnavailableError("the log could not be read yet") from None
        return self.last

    async def reach(self, seq: int) -> None:
        """Wait until this process has read up to `seq`, which another may have told already.

        Raises CursorLostError where no such seq comes within two readings of the log.
        """
        if await self.position() >= seq:
            return
        self._bell.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * TIMER):
                while self.last is not None and self.last < seq:
                    await self._grown.wait()
        if self.last is None or self.last < seq:
            raise CursorLostError

    @property
    def place(self) -> Place:
        """Where this process has come to; before the first reading, at 0."""
        return Place(self._era, self.last or 0)

    async def current(self, within: float) -> bool:
        """Whether all that was committed `within` seconds before this call has been read.

        Waits for a reading where the last one began too long ago. That is the proof, whatever
        became of a notification; false where the database does not answer in time.
        """
        now = asyncio.get_running_loop().time()
        if self._current_at < now - within / 2:  # early, so that under load no one has to wait
            self._bell.set()
        if self._current_at >= now - within:
            return True
        try:
            async with asyncio.timeout(CURRENT_TIMEOUT):
                while self._current_at < now - within and self.outage.cause is None:
                    await self._checked.wait()
        except TimeoutError:
            return False
        return self.outage.cause is None

    def changes(self, since: Place) -> Sequence[Quote] | None:
        """The quotes committed after a place that this process once had come to, in order.

        None where they are not all in memory: after a backfill, or too long.
        """
        last = self.last or 0
        if since.era != self._era or since.seq < self._floor:
            return None
        quotes = self._recent(since.seq, None)
        return quotes if since.seq + len(quotes) >= last else None

    async def follow(
        self, after: int, tickers: Collection[str] | None = None
    ) -> AsyncGenerator[Quote, None]:
        """Every streamed quote after seq `after`, in order, once each; then each new one, for ever.

        Of `tickers` only, where given. A database that is away is waited for. Raises
        CursorLostError where the log turns out to end before `after`, or is replaced.
        """
        cursor, history = after, self.history
        while True:
            quotes, cursor = await self.beyond(cursor, tickers, history)
            for quote in quotes:
                yield quote

    async def beyond(
        self, cursor: int, tickers: Collection[str] | None, history: int
    ) -> tuple[Sequence[Quote], int]:
        """What follows the cursor, at most a page of it or the tail, and the cursor after that.

        Waits until there is more in the log, of these tickers or others. Raises CursorLostError
        where the log ends before the cursor, or is no longer that of `history`.
        """
        while (last := await self.position()) == cursor and self.history == history:
            await self._growth_of(tickers).wait()
        if last < cursor or self.history != history:
            raise CursorLostError
        page = await self._page(cursor, last, tickers)
        if self.history != history:
            raise CursorLostError
        return page

    async def _page(
        self, cursor: int, last: int, tickers: Collection[str] | None
    ) -> tuple[Sequence[Quote], int]:
        if cursor < self._floor:
            return await self._replay.page(cursor, last, tickers)
        quotes = self._recent(cursor, tickers)
        if client.get() is None or len(quotes) <= replay.PAGE:  # the live lane waits for no replay
            return quotes, last
        async with self._replay.turn():
            return quotes[: replay.PAGE], quotes[replay.PAGE - 1].seq

    def _growth_of(self, tickers: Collection[str] | None) -> asyncio.Event:
        if tickers is not None and len(tickers) == 1:
            return self._ticked[next(iter(tickers))]
        return self._grown

    def _recent(self, after: int, tickers: Collection[str] | None) -> list[Quote]:
        newest_first = takewhile(lambda quote: quote.seq > after, reversed(self._tail))
        return [quote for quote in newest_first if tickers is None or quote.ticker in tickers][::-1]

    async def run(self) -> None:
        """Read the log for ever; ends only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="feed-listen")
            tasks.create_task(self._read(), name="feed-read")

    async def _read(self) -> None:
        while True:
            self._bell.clear()
            try:
                async with asyncio.timeout(READ_TIMEOUT):
                    await self._catch_up()
            except (DatabaseError, TimeoutError) as error:
                self.outage.failed(error)
            else:
                self.outage.recovered()
            checked, self._checked = self._checked, asyncio.Event()
            checked.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(TIMER):
                    await self._bell.wait()

    async def _catch_up(self) -> None:
        began = asyncio.get_running_loop().time()
        async with self._sessions() as session:
            high = await store.high_water(session)
            if self.last is not None and await self._is_another_log(session, high):
                log.error("feed_log_replaced", last=self.last, found=high)
                self.last = None
                self.history += 1
                self._replay.forget()
            if self.last is None or high - self.last > TAIL:
                await self._begin(session, high)
            while (last := self.last or 0) < high:
                self._grow(*await stream.page(session, after=last, upto=high, limit=LARGEST_READ))
        self.read_at = datetime.now(UTC)
        self._current_at = began

    async def _is_another_log(self, session: AsyncSession, high: int) -> bool:
        """Whether the newest quote known is in the log no more, as after a restore from a copy."""
        if self.last is not None and high < self.last:
            return True
        if not self._tail:
            return False
        known = self._tail[-1]
        quote = await store.with_seq(session, known.seq)
        return quote is None or fingerprint(quote) != fingerprint(known)

    async def _begin(self, session: AsyncSession, high: int) -> None:
        """Start from the newest TAIL quotes, so that all who come back are served from memory.

        At the start, after so long an absence that no more is known, and where the log is another.
        """
        newest = await stream.end(session, upto=high, limit=TAIL)
        self._floor = newest[0].seq - 1 if len(newest) == TAIL else 0
        self._tail = deque(newest)
        self.last = high
        self._era += 1
        self._wake({*self._ticked})

    def _grow(self, quotes: Sequence[Quote], upto: int) -> None:
        self._tail.extend(quotes)
        while len(self._tail) > TAIL:
            self._floor = self._tail.popleft().seq
        self.last = upto
        self._wake({quote.ticker for quote in quotes})

    def _wake(self, tickers: Collection[str]) -> None:
        rung = [self._ticked.pop(ticker) for ticker in tickers if ticker in self._ticked]
        grown, self._grown = self._grown, asyncio.Event()
        for event in (grown, *rung):
            event.set()

    async def _listen(self) -> None:
        outage = Outage("notifications")
        while True:
            try:
                with translated():
                    await self._hear(outage)
            except DatabaseError as error:
                outage.failed(error)
            await asyncio.sleep(RETRY)

    async def _hear(self, outage: Outage) -> None:
        """Hold one LISTEN connection until it is lost or falls silent."""
        connection = await self._connect()
        try:
            await connection.add_listener(store.CHANNEL, lambda *_: self._bell.set())
            self.listening = True
            outage.recovered()
            self._bell.set()  # what was rung before we listened
            while True:
                await asyncio.sleep(PROBE_EVERY)
                await connection.execute("SELECT 1", timeout=PROBE_TIMEOUT)
        finally:
            self.listening = False
            connection.terminate()


@asynccontextmanager
async def open_feed(
    sessions: store.Sessions,
    connect: connections.Connect,
    replays: store.Sessions,
    replay_turns: int = 2,
) -> AsyncIterator[tuple[Feed, asyncio.Task[None]]]:
    """A running feed and the task that runs it, whose end other than by this block is a fault.

    It reads the log by `sessions` and is notified on what `connect` opens: both are its own.
    `replays` serve those who are behind its tail, so many of them at once.
    """
    feed = Feed(sessions, connect, Replay(replays, replay_turns))
    task = asyncio.create_task(feed.run(), name="feed")
    try:
        yield feed, task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
