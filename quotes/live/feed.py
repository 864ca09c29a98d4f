"""The feed: reads the end of the log, and serves it to subscribers in this process.

A notification, a one-second timer and a reconnect all trigger the same read: everything after the
last seq. A subscriber behind the tail reads the table until it has caught up.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes import metrics
from quotes.background import Ended, background, log_failure
from quotes.database import connections
from quotes.database.errors import DatabaseError, UnavailableError
from quotes.database.log import partitions, stream
from quotes.database.models import Quote
from quotes.database.outages import Outage
from quotes.database.sessions import Sessions
from quotes.live import replay, tail
from quotes.live.notifications import Notifications
from quotes.live.replay import Replay
from quotes.live.tail import Tail
from quotes.live.turns import client

log = structlog.get_logger()

TIMER = 1.0  # seconds; the most that a lost notification can cost
READ_TIMEOUT = 10.0  # seconds for one read of what is new
LARGEST_READ = 1_000  # quotes, for a process that was disconnected for long
EARLY = 0.75  # of the age that is allowed, at which the log is read again
CURRENT_TIMEOUT = 1.0  # seconds that a query waits for the feed before it reads the table itself

Version = tuple[int, int | None]


class CursorLostError(Exception):
    """The log has no such position: it was replaced or retired, or the cursor was made up."""


class Feed:
    """The end of the log, as far as this process has read it. Built and run by `open_feed`."""

    def __init__(self, sessions: Sessions, connect: connections.Connect, replays: Replay) -> None:
        self._sessions = sessions
        self.replays = replays
        self._notified = asyncio.Event()
        self._notifications = Notifications(connect, self._notified.set)
        self.tail = Tail()
        self.history = 0  # incremented when the log was replaced
        # When the last complete read began, by the loop's clock; `_checked` is set after each read.
        self._current_at = float("-inf")
        self._checked = asyncio.Event()
        self._oldest = partitions.BEGINNING  # minute of what is new, as far as is known
        self.retired_before: datetime | None = None  # minutes before it are no longer kept
        self.read_at: datetime | None = None  # when `last` was last seen to be the newest
        self.outage = Outage("feed")

    @property
    def last(self) -> int | None:
        """The high-water seq; None until the database first answered."""
        return self.tail.last

    @property
    def listening(self) -> bool:
        """Whether notifications arrive; the timer works without them."""
        return self._notifications.listening

    @property
    def version(self) -> Version:
        """Differs whenever what a query finds may differ."""
        return self.history, self.last

    async def position(self) -> int:
        """The current end of the log. Raises UnavailableError where it has not been read yet."""
        if self.last is None:
            try:
                async with asyncio.timeout(READ_TIMEOUT):
                    while self.last is None:
                        await self.tail.grown()
            except TimeoutError:
                raise UnavailableError("the log could not be read yet") from None
        return self.last

    async def reach(self, seq: int) -> None:
        """Wait until this process has read up to `seq`, which another process may have reported.

        Raises CursorLostError where a read of the log that began after this call ends before it,
        and UnavailableError where the log cannot be read.
        """
        if await self.position() >= seq:
            return
        asked = asyncio.get_running_loop().time()
        self._notified.set()
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                while (self.last or 0) < seq and self._current_at < asked:
                    await self._checked.wait()
        except TimeoutError:
            raise UnavailableError("the log could not be read just now") from None
        if (self.last or 0) < seq:
            raise CursorLostError

    def is_current(self, within: float) -> bool:
        """As `current`, without waiting; where it is not, the log is read soon."""
        now = asyncio.get_running_loop().time()
        if self._current_at < now - within * EARLY:  # so that under load no one has to wait
            self._notified.set()
        return self._current_at >= now - within

    async def current(self, within: float) -> bool:
        """Whether all that was committed `within` seconds before this call has been read.

        Waits for the next read where the last one began too long ago: a notification may be lost, a
        read proves it. False where the database does not answer in time.
        """
        now = asyncio.get_running_loop().time()
        if self.is_current(within):
            return True
        try:
            async with asyncio.timeout(CURRENT_TIMEOUT):
                while self._current_at < now - within and self.outage.cause is None:
                    await self._checked.wait()
        except TimeoutError:
            return False
        return self.outage.cause is None

    async def follow(
        self, after: int, tickers: Collection[str] | None = None
    ) -> AsyncGenerator[Quote, None]:
        """Every streamed quote after seq `after`, in order, once each; then each new one, for ever.

        Of `tickers` only, where given. Waits for a database that is unavailable. Raises
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
            await self.tail.grown(tickers)
        if last < cursor or self.history != history:
            raise CursorLostError
        page = await self._page(cursor, last, tickers)
        if self.history != history:
            raise CursorLostError
        return page

    async def _page(
        self, cursor: int, last: int, tickers: Collection[str] | None
    ) -> tuple[Sequence[Quote], int]:
        if cursor < self.tail.floor:
            try:
                return await self.replays.page(cursor, last, tickers)
            except stream.RetiredError:
                raise CursorLostError from None
        quotes = self.tail.after(cursor, tickers)
        if client.get() is None or len(quotes) <= replay.PAGE:  # the live lane waits for no replay
            return quotes, last
        async with self.replays.turn():
            metrics.REPLAY_PAGES.labels("tail").inc()
            return quotes[: replay.PAGE], quotes[replay.PAGE - 1].seq

    async def run(self) -> None:
        """Read the log for ever; ends only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._notifications.run(), name="feed-listen")
            tasks.create_task(self._read(), name="feed-read")

    async def _read(self) -> None:
        while True:
            self._notified.clear()
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
                    await self._notified.wait()

    async def _catch_up(self) -> None:
        began = asyncio.get_running_loop().time()
        async with self._sessions() as session:
            more = True
            while more:
                more = await self._read_once(session)
        self.read_at = datetime.now(UTC)
        self._current_at = began

    async def _read_once(self, session: AsyncSession) -> bool:
        """Read what is new, at most LARGEST_READ of it; returns whether there is more."""
        known, last = self.tail.newest, self.last
        since = (last or 0) + 1 if known is None else known.seq
        news = await stream.news(session, since=since, limit=LARGEST_READ, oldest=self._oldest)
        quotes, end, self._oldest = news.quotes, news.last, news.oldest
        self.retired_before = news.retired_before
        if self.tail.was_replaced(quotes, end):
            log.error("feed_log_replaced", last=last, found=end)
            self.tail.last = None
            self.history += 1
            self.replays.forget()
        if self.last is None or end - self.last > tail.MAX_QUOTES:
            # So that reconnecting subscribers are served from memory: at the start, after a long
            # disconnection, and when the log was replaced.
            newest = await stream.end(session, upto=end, limit=tail.MAX_QUOTES)
            self.tail.replace(newest, end)
            return False
        more = len(quotes) == LARGEST_READ
        new = quotes if known is None else quotes[1:]
        if end > self.last:
            self.tail.extend(new, new[-1].seq if more else end)
            if news.age is not None and not more:
                metrics.FEED_LAG.observe(news.age.total_seconds())
        return more


@asynccontextmanager
async def open_feed(
    sessions: Sessions,
    connect: connections.Connect,
    replays: Sessions,
    replay_turns: int = 2,
    ended: Ended = log_failure,
) -> AsyncIterator[tuple[Feed, asyncio.Task[None]]]:
    """A running feed and its task, which must not end before this block does.

    It reads the log through `sessions` and listens on what `connect` opens: both are its own.
    `replays` serves subscribers behind the tail, `replay_turns` at once. `ended` is given the task.
    """
    feed = Feed(sessions, connect, Replay(replays, replay_turns))
    async with background(feed.run(), "feed", ended) as task:
        yield feed, task
