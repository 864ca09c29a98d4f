"""Those who have seen all there is: each new quote is encoded once and written to all of them.

Waking a task for each subscriber costs several times what writing to its connection does. So who
has caught up with the log waits here, and is written to directly; who does not read fast enough
leaves, and goes on from its own cursor.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from quotes.api.payloads import Selection, Selections
from quotes.database.models import Quote
from quotes.live.feed import CursorAheadError, Feed

AT_ONCE = 250  # written to before other tasks have a turn: some 3 ms


class Follower:
    """One subscriber: what it has seen, and how a message gets on its connection's way."""

    __slots__ = ("behind", "cursor", "head", "push")

    def __init__(self, head: bytes, push: Callable[[bytes], bool], cursor: int) -> None:
        self.head = head  # of its messages, up to the payload
        self.push = push  # False where the connection's buffer is full, or it has ended
        self.cursor = cursor
        self.behind: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(self, told: Sequence[tuple[int, bytes]]) -> None:
        """Messages' ends, each with its seq. What was seen before is passed over."""
        for seq, tail in told:
            if seq > self.cursor:
                if not self.push(self.head + tail):
                    self.leave()
                    return
                self.cursor = seq

    def leave(self) -> None:
        if not self.behind.done():
            self.behind.set_result(None)


Wanted = tuple[Selection, frozenset[str] | None]


class Audience:
    """All followers of this process, by what they want. Run by `open_audience`."""

    def __init__(self, feed: Feed, selections: Selections) -> None:
        self._feed = feed
        self._selections = selections
        self._cursor = -1  # what all followers have been told; below any before the first reading
        self._followers: dict[Wanted, set[Follower]] = {}

    async def attend(self, follower: Follower, wanted: Wanted) -> None:
        """Until the follower has fallen behind its cursor; at once if it is behind already."""
        if follower.cursor < self._cursor or self._cursor < 0:
            return
        follower.behind = asyncio.get_running_loop().create_future()
        group = self._followers.setdefault(wanted, set())
        group.add(follower)
        try:
            await follower.behind
        finally:
            group.discard(follower)
            if not group:
                self._followers.pop(wanted, None)

    async def run(self) -> None:
        """Tell what comes, for ever; ends only by cancellation."""
        while True:
            self._cursor = await self._feed.position()
            with suppress(CursorAheadError):
                while True:
                    quotes, cursor = await self._feed.beyond(self._cursor, None)
                    self._cursor = cursor  # first: who comes from now on has to have seen these
                    await self._tell(quotes)
            self._send_all_away()

    async def _tell(self, quotes: Sequence[Quote]) -> None:
        told = 0
        for wanted in list(self._followers):
            tails = self._tails(wanted, quotes)
            for follower in tuple(self._followers.get(wanted, ())) if tails else ():
                follower.tell(tails)
                told += 1
                if told % AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _tails(self, wanted: Wanted, quotes: Sequence[Quote]) -> list[tuple[int, bytes]]:
        selection, tickers = wanted
        return [
            (quote.seq, self._selections.payload(selection, quote).encode() + b"}")
            for quote in quotes
            if tickers is None or quote.ticker in tickers
        ]

    def _send_all_away(self) -> None:
        for group in self._followers.values():
            for follower in group:
                follower.leave()


@asynccontextmanager
async def open_audience(
    feed: Feed, selections: Selections
) -> AsyncIterator[tuple[Audience, asyncio.Task[None]]]:
    """One that runs, and the task that runs it, whose end other than by this block is a fault."""
    audience = Audience(feed, selections)
    task = asyncio.create_task(audience.run(), name="audience")
    try:
        yield audience, task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
