"""The fan-out: what many subscribers select alike is encoded once and written to all of them.

Waking a task for each subscriber costs several times what writing to its connection does. So
whoever has caught up with the log is written to directly; whoever does not read fast enough
continues from its own cursor.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from quotes.background import Ended, background, log_failure
from quotes.database.errors import DatabaseError
from quotes.live.feed import CursorLostError
from quotes.live.subscriber import Batch, Event, Log, Message, Subscriber

AT_ONCE = 250  # messages written before other tasks have a turn: some 3 ms
PAUSE = 0.1  # seconds after a failed read: a log that has ended fails again without waiting
LARGEST_PART = 100  # events encoded before other tasks have a turn: some 2 ms

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Topic(Generic[E]):
    """What is delivered alike: subscribers of equal topics share each message."""

    encode: Callable[[E], bytes]  # hashable; equal ones encode alike
    tickers: frozenset[str] | None  # all with None

    def messages(self, events: Sequence[E]) -> list[Message]:
        return [(event.seq, self.encode(event)) for event in self.selected(events)]

    def selected(self, events: Sequence[E]) -> Sequence[E]:
        if self.tickers is None:
            return events
        return [event for event in events if event.ticker in self.tickers]


class _Group:
    """The live subscribers of one topic."""

    __slots__ = ("after", "subscribers")

    def __init__(self, after: int) -> None:
        self.after = after  # each of them has had what is selected up to here
        self.subscribers: set[Subscriber] = set()


# Called with what was delivered, in how many messages, and how many seconds that took.
Report = Callable[[Sequence[E], int, float], None]


class FanOut(Generic[E]):
    """All subscribers to one log in this process. Run by `open_fan_out`."""

    def __init__(
        self, log: Log[E], at_once: int = AT_ONCE, report: Report[E] | None = None
    ) -> None:
        self._log = log
        self._report = report
        self._at_once = at_once
        self._cursor = -1  # what live subscribers have had; below any seq before the first read
        self._history = log.history
        self._groups: dict[Topic[E], _Group] = {}

    async def deliver(
        self, subscriber: Subscriber, topic: Topic[E], interval: float | None = None
    ) -> None:
        """Deliver all that follows the subscriber's cursor, for ever.

        With `interval`, only the newest event of each ticker in that many seconds. Raises
        CursorLostError where the log no longer has that position, and SinkClosedError.
        """
        while True:
            if interval is None:
                await self._push_to(subscriber, topic)
                events, upto = await self._log.beyond(
                    subscriber.cursor, topic.tickers, subscriber.history
                )
            else:
                events, upto = await conflated(
                    self._log, subscriber.cursor, topic.tickers, subscriber.history
                )
            messages = ((event.seq, topic.encode(event)) for event in events)
            await subscriber.write(Batch(subscriber.cursor, messages, upto))
            if interval is not None:
                await asyncio.sleep(interval)

    async def _push_to(self, subscriber: Subscriber, topic: Topic[E]) -> None:
        """Keep the subscriber live until it falls behind, which it may be already."""
        end = await self._log.position()
        if self._cursor < 0 or not self._cursor <= subscriber.cursor <= end:
            return
        if self._history != subscriber.history:
            return
        group = self._groups.setdefault(topic, _Group(self._cursor))
        group.subscribers.add(subscriber)
        try:
            await subscriber.until_behind()
        finally:
            group.subscribers.discard(subscriber)
            if not group.subscribers and self._groups.get(topic) is group:
                del self._groups[topic]

    async def run(self) -> None:
        """Push new events for ever; ends only by cancellation, or with the log's own error."""
        try:
            while True:  # from the log's end anew, where it was replaced or cannot be read
                with suppress(CursorLostError):
                    await self._push_new()
                self._dismiss_all()
        finally:
            self._dismiss_all()

    async def _push_new(self) -> None:
        """Push what comes after the log's end of now."""
        try:
            self._history = self._log.history
            self._cursor = await self._log.position()
            while True:
                events, cursor = await self._log.beyond(self._cursor, None, self._history)
                # First: whoever becomes live from now on must have had these events.
                self._cursor = cursor
                await self._push_all(events)
        except DatabaseError:
            self._dismiss_all()
            await asyncio.sleep(PAUSE)

    @property
    def live(self) -> int:
        """How many subscribers are live."""
        return sum(len(group.subscribers) for group in tuple(self._groups.values()))

    async def _push_all(self, events: Sequence[E]) -> None:
        began = time.monotonic()
        messages = await self._push(events)
        if self._report is not None and events:
            self._report(events, messages, time.monotonic() - began)

    async def _push(self, events: Sequence[E]) -> int:
        """Returns the number of messages."""
        pushed = total = 0
        for topic, group in list(self._groups.items()):
            selected = topic.selected(events)
            for begin in range(0, len(selected), LARGEST_PART):
                messages = topic.messages(selected[begin : begin + LARGEST_PART])
                batch = Batch(group.after, messages, messages[-1][0])
                group.after = batch.upto
                for subscriber in tuple(group.subscribers):
                    subscriber.push(batch)
                    pushed += len(messages)
                    total += len(messages)
                    if pushed >= self._at_once:
                        pushed = 0
                        await asyncio.sleep(0)
        return total

    def _dismiss_all(self) -> None:
        """Nobody is live until the log's end is known again."""
        self._cursor = -1
        for group in self._groups.values():
            for subscriber in group.subscribers:
                subscriber.fall_behind()


async def conflated(
    log: Log[E], cursor: int, tickers: frozenset[str] | None, history: int
) -> tuple[Sequence[E], int]:
    """The newest event of each ticker after the cursor, and the end of the log.

    What is left out precedes what is returned, so each seq is a valid cursor. Waits and raises
    as `Log.beyond`.
    """
    newest: dict[str, E] = {}
    while not newest or cursor != await log.position():
        events, cursor = await log.beyond(cursor, tickers, history)
        newest.update((event.ticker, event) for event in events)
    return sorted(newest.values(), key=lambda event: event.seq), cursor


@asynccontextmanager
async def open_fan_out(
    log: Log[E], report: Report[E] | None = None, ended: Ended = log_failure
) -> AsyncIterator[FanOut[E]]:
    """A running fan-out. `ended` is called with its task when that ends."""
    fan_out = FanOut(log, report=report)
    async with background(fan_out.run(), "fan-out", ended):
        yield fan_out
