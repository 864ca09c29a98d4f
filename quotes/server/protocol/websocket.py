"""A connection that has become a WebSocket."""

from collections.abc import Callable, Sequence
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

from quotes.server.protocol.connection import DIRECT
from quotes.server.protocol.stalls import StallTimeout

GRACE = 2.0  # seconds for the close frame to reach a reader that reads after all

BAD_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

OPEN = State.OPEN  # for where it counts: a member read from its Enum takes 0.4 us
_TEXT = 0x81  # a whole text frame: FIN, opcode 1 (RFC 6455, 5.2)
_LENGTH_IN_TWO_BYTES, _LENGTH_IN_EIGHT_BYTES = 126, 127


def text_frame(payload: bytes) -> bytes:
    """An unmasked frame, as a server sends it (RFC 6455, 5.2)."""
    length = len(payload)
    if length < _LENGTH_IN_TWO_BYTES:
        return bytes((_TEXT, length)) + payload
    if length < 1 << 16:
        return bytes((_TEXT, _LENGTH_IN_TWO_BYTES, length >> 8, length & 255)) + payload
    return bytes((_TEXT, _LENGTH_IN_EIGHT_BYTES)) + length.to_bytes(8, "big") + payload


class WebSocket(StallTimeout, WebSocketsSansIOProtocol):
    """A connection that has become a WebSocket. It offers the application itself as DIRECT."""

    release: Callable[[], None] | None = None  # gives back its place among HTTP connections

    def require_handshake(self) -> None:
        """Refuse what websockets does not take for a request; uvicorn would leave it unanswered."""
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()) or BAD_HANDSHAKE)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.dedicate()
        super().connection_lost(exc)

    def dedicate(self) -> None:
        if self.release is not None:
            self.release()
            self.release = None

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):  # otherwise the handshake was refused
            self.scope["extensions"][DIRECT] = self  # type: ignore[assignment]

    def try_write(self, message: bytes) -> bool:
        """As `Direct`; the message is UTF-8 text, and goes out in a frame of its own."""
        if self._stall is not None or self.disconnected or self.conn.state is not OPEN:
            return False
        self.transport.write(text_frame(message))
        return True

    def try_write_all(self, messages: Sequence[bytes]) -> bool:
        """As `try_write`, each in a frame of its own."""
        if self._stall is not None or self.disconnected or self.conn.state is not OPEN:
            return False
        self.transport.write(b"".join([text_frame(message) for message in messages]))
        return True

    async def room(self) -> None:
        if not self._open():
            raise ClientDisconnected
        await self.writable.wait()

    def _open(self) -> bool:
        return not self.disconnected and self.conn.state is OPEN

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            # Some 4 KiB that are not read again; websockets' parser holds the request for ever.
            self.request.headers.clear()
            del self.request, self.response

    def cut_off(self) -> None:
        if self.conn.state is OPEN:
            self.conn.send_close(CloseCode.TRY_AGAIN_LATER, "You do not read; come again")
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.loop.call_later(GRACE, self.transport.abort)
