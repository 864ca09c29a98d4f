"""Where one operation's messages go, whatever connection it came by."""

from collections.abc import Sequence

from quotes.api.plans.subscriptions import Envelope
from quotes.live.subscriber import SinkClosedError
from quotes.server.protocol.connection import Direct, write


class OperationSink:
    """Where one operation's messages go: a connection, and what it writes around a payload.

    The envelope is alike for all connections of a kind; the head is the operation's own.
    """

    __slots__ = ("_connection", "_head", "envelope")

    def __init__(self, connection: Direct, envelope: Envelope, head: bytes = b"") -> None:
        self._connection = connection
        self._head = head
        self.envelope = envelope

    def try_write(self, message: bytes) -> bool:
        return self._connection.try_write(self._head + message)

    def try_write_all(self, messages: Sequence[bytes]) -> bool:
        head = self._head
        return self._connection.try_write_all([head + message for message in messages])

    async def write(self, message: bytes) -> None:
        try:
            await write(self._connection, self._head + message)
        except OSError:
            raise SinkClosedError from None
