"""A connection, as whoever writes to it sees it."""

from collections.abc import Sequence
from typing import Protocol

DIRECT = "quotes.direct"  # our ASGI extension, whose value is a Direct


class Direct(Protocol):
    """A connection that messages are written to without waking a task."""

    def try_write(self, message: bytes) -> bool:
        """Write a message unless the connection is full or has ended; whether it was written."""
        ...

    def try_write_all(self, messages: Sequence[bytes]) -> bool:
        """Write them all, as `try_write`, or none of them."""
        ...

    async def room(self) -> None:
        """Wait until the connection takes more. Raises OSError where it ends, or takes too long."""
        ...


class Connection(Direct, Protocol):
    """A WebSocket, or an event stream's."""

    def dedicate(self) -> None:
        """Let it carry subscriptions, and end with them.

        It then counts no longer among the connections that requests come on.
        """
        ...


async def write(connection: Direct, message: bytes) -> None:
    """Write as soon as there is room. Raises OSError where the connection ends before."""
    while not connection.try_write(message):
        await connection.room()
