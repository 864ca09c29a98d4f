"""uvicorn's connections with an end to waiting, and with cheaper frames.

A transport says when its buffer is full and when it has drained. A reader that takes nothing of a
full one for a while is cut off, so that it holds neither memory nor a task for ever; a slow one
that takes some goes on.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

PATIENCE = 10.0  # seconds that a full buffer may stay as full
GRACE = 2.0  # seconds for the close frame to reach a reader that reads after all
BUFFER = 64 * 1024  # bytes that wait for a slow reader in this process before it counts as full

PUSH = "quotes.push"  # our ASGI extension: a text message without waiting, where there is room
Push = Callable[[bytes], bool]

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


class Impatient(asyncio.Protocol):
    """Cuts off who does not read. In front of one of uvicorn's protocols."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(high=BUFFER)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        self._calm()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    def cut_off(self) -> None:
        self.transport.abort()

    def _wait(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._patience = self.loop.call_later(PATIENCE, self._look, left)

    def _look(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._wait()
        else:
            self.cut_off()

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class Http(Impatient, HttpToolsProtocol):
    """A connection that speaks HTTP."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle is not None and self.scope["http_version"] == "1.0":
            self.cycle.__class__ = UnchunkedCycle


class UnchunkedCycle(RequestResponseCycle):
    """Answers an HTTP/1.0 client, which knows no chunks: the body ends with its connection.

    uvicorn 0.54 has chunks for every answer without a Content-Length.
    """

    async def send(self, message: Any) -> None:
        self.chunked_encoding = False
        self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class WebSocket(Impatient, WebSocketsSansIOProtocol):
    """A connection that has become a WebSocket. It offers the application PUSH."""

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):  # otherwise the handshake was refused
            self.scope["extensions"][PUSH] = self.push  # type: ignore[assignment]

    def push(self, text: bytes) -> bool:
        """Write a text message unless the connection is full or ending; whether it was."""
        if not self.writable.is_set() or self.disconnected or self.conn.state is not State.OPEN:
            return False
        self.transport.write(text_frame(text))
        return True

    async def send(self, message: Any) -> None:
        """As uvicorn's; a text in an open conversation goes straight into one frame."""
        text = message.get("text")
        if text is None:
            await super().send(message)
            if message["type"] == "websocket.accept":
                del self.request, self.response  # some 2 KiB that no one reads again
            return
        if not self.writable.is_set():
            await self.writable.wait()
        if self.disconnected or self.conn.state is not State.OPEN:
            raise ClientDisconnected
        self.transport.write(text_frame(text.encode()))

    def cut_off(self) -> None:
        if self.conn.state is State.OPEN:
            self.conn.send_close(CloseCode.TRY_AGAIN_LATER, "You do not read; come again")
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.loop.call_later(GRACE, self.transport.abort)
