"""Turns at something of which there is little, shared fairly between addresses and connections."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar

Client = tuple[str, Hashable]  # an address, and one of its connections

# Whose request the current task works for; what works for all has none.
client: ContextVar[Client | None] = ContextVar("client", default=None)


class _Lines:
    """Who waits: a line for each connection of each address."""

    def __init__(self) -> None:
        self._addresses: dict[str, dict[Hashable, deque[asyncio.Future[None]]]] = {}

    def join(self, who: Client, turn: "asyncio.Future[None]") -> None:
        address, connection = who
        self._addresses.setdefault(address, {}).setdefault(connection, deque()).append(turn)

    def next(self) -> "asyncio.Future[None] | None":
        """Addresses take turns, and at each its connections; both go to the end of their line."""
        if not self._addresses:
            return None
        address = next(iter(self._addresses))
        connections = self._addresses.pop(address)
        connection = next(iter(connections))
        line = connections.pop(connection)
        turn = line.popleft()
        if line:
            connections[connection] = line
        if connections:
            self._addresses[address] = connections
        return turn


class Turns:
    """At most `most` turns at once. One that ends wakes one who waits, in the loop's next round.

    So where each turn does a piece of work, no more than `most` pieces are done in one round of
    the event loop, and whatever else is ready has its turn in between.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._lines = _Lines()
        self.waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn for the task's client."""
        await self.take()
        try:
            yield
        finally:
            self.give()

    def take_free(self) -> bool:
        """Take a turn if one is free."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def take(self) -> None:
        """Wait for a turn; who has it gives it back."""
        if self.take_free():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.join(client.get() or ("", None), turn)
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give()  # it came, and nobody is there to use it
            raise
        finally:
            self.waiting -= 1

    def give(self) -> None:
        while (turn := self._lines.next()) is not None:
            if not turn.done():  # else who waited has left
                turn.set_result(None)
                return
        self._free += 1
