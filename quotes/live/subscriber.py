"""A subscriber: a cursor over a log, and the sink that its messages are written to."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

BEFORE_YIELDING = 100  # messages written without waiting before other tasks have a turn: some 2 ms


class SinkClosedError(Exception):
    """The connection has ended, and takes no more messages."""


class Event(Protocol):
    """What a log holds."""

    @property
    def seq(self) -> int: ...

    @property
    def ticker(self) -> str: ...


Event_co = TypeVar("Event_co", bound=Event, covariant=True)


class Log(Protocol[Event_co]):
    """Events in the order of their seq, which only grows at its end.

    It may be replaced by another, whose seqs are unrelated: `history` is then incremented.
    """

    history: int

    async def position(self) -> int:
        """The seq that the log reaches to now."""
        ...

    async def beyond(
        self, cursor: int, tickers: Collection[str] | None, history: int
    ) -> tuple[Sequence[Event_co], int]:
        """What follows the cursor, or a page of it, and the seq up to which it is complete.

        Waits until there is more. Raises CursorLostError where the log ends before the cursor, or
        is no longer that of `history`.
        """
        ...


class Sink(Protocol):
    """Where the messages of one operation go."""

    def try_write(self, message: bytes) -> bool:
        """Write without waiting; False where the connection's buffer is full or it has ended."""
        ...

    def try_write_all(self, messages: Sequence[bytes]) -> bool:
        """Write them all, as `try_write`, or none: one call of the system instead of many."""
        ...

    async def write(self, message: bytes) -> None:
        """Write as soon as there is room. Raises SinkClosedError where that never comes."""
        ...


Message = tuple[int, bytes]  # an event's seq, and what is written of it


class Batch(NamedTuple):
    """All messages of a subscription with after < seq <= upto, in order."""

    after: int
    messages: Iterable[Message]
    upto: int


class Subscriber:
    """Everything selected up to `cursor` was written to its sink, once and in order.

    At any time one task writes to the sink: the fan-out while the subscriber is live, otherwise
    the subscriber's own, which reads the log from the cursor.
    """

    __slots__ = ("_behind", "_sink", "cursor", "history")

    def __init__(self, sink: Sink, history: int, cursor: int = -1) -> None:
        self._sink = sink
        self.history = history  # of its log
        self.cursor = cursor
        self._behind: asyncio.Future[None] | None = None  # while live: done when it falls behind

    async def until_behind(self) -> None:
        """Be live: messages are pushed until one cannot be written."""
        self._behind = asyncio.get_running_loop().create_future()
        try:
            await self._behind
        finally:
            self._behind = None

    def push(self, batch: Batch) -> None:
        """Write without waiting while live; falls behind where not everything could be written."""
        if self._behind is None or self._behind.done():
            return
        if batch.after > self.cursor:  # something between was missed
            self.fall_behind()
            return
        cursor, due = self.cursor, list[bytes]()
        for seq, message in batch.messages:  # the generator of `_due` takes 0.15 us
            if cursor < seq <= batch.upto:
                due.append(message)
                cursor = seq
        if due and not self._written(due):
            self.fall_behind()
            return
        self.cursor = cursor

    def _written(self, due: Sequence[bytes]) -> bool:
        if len(due) == 1:
            return self._sink.try_write(due[0])
        return self._sink.try_write_all(due)

    def fall_behind(self) -> None:
        if self._behind is not None and not self._behind.done():
            self._behind.set_result(None)

    async def write(self, batch: Batch) -> None:
        """Write all of a batch that begins at the cursor or before. Raises SinkClosedError."""
        assert self._behind is None, "the fan-out writes to this subscriber"
        assert batch.after <= self.cursor, "something between was missed"
        for written, (seq, message) in enumerate(self._due(batch), 1):
            if not self._sink.try_write(message):
                await self._sink.write(message)
            elif written % BEFORE_YIELDING == 0:
                await asyncio.sleep(0)
            self.cursor = seq
        self.cursor = max(self.cursor, batch.upto)

    def _due(self, batch: Batch) -> Iterator[Message]:
        """The messages still to be written, in increasing order, none past the batch's end."""
        for message in batch.messages:
            if self.cursor < message[0] <= batch.upto:
                yield message
