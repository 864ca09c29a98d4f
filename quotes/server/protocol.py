"""uvicorn's connections, extended: writing without waiting, and cutting off stalled readers.

It relies on internals of uvicorn (0.54) and websockets (17.4), as `http.request_limits` does; no
other module does.

A transport reports when its buffer is full and when it has drained. A reader that takes nothing
from a full one for STALL_TIMEOUT is cut off, so that it holds neither memory nor a task for ever; a
slow one that takes some has until ROOM_TIMEOUT.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol
from weakref import ref

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

from quotes.server.http.immediate import ImmediateAnswers
from quotes.server.http.request_limits import LimitedRequests

STALL_TIMEOUT = 10.0  # seconds that a full buffer may stay as full
ROOM_TIMEOUT = 60.0  # seconds that a full buffer may take to drain, however much the reader takes
GRACE = 2.0  # seconds for the close frame to reach a reader that reads after all
BUFFER = 64 * 1024  # bytes that wait for a slow reader in this process before it counts as full

DIRECT = "quotes.direct"  # our ASGI extension, whose value is a Direct

BAD_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

_TEXT = 0x81  # a whole text frame: FIN, opcode 1 (RFC 6455, 5.2)
_LENGTH_IN_TWO_BYTES, _LENGTH_IN_EIGHT_BYTES = 126, 127


class Direct(Protocol):
    """A connection that messages are written to without waking a task."""

    def try_write(self, message: bytes) -> bool:
        """Write a message unless the connection is full or has ended; whether it was written."""
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


def text_frame(payload: bytes) -> bytes:
    """An unmasked frame, as a server sends it (RFC 6455, 5.2)."""
    length = len(payload)
    if length < _LENGTH_IN_TWO_BYTES:
        return bytes((_TEXT, length)) + payload
    if length < 1 << 16:
        return bytes((_TEXT, _LENGTH_IN_TWO_BYTES, length >> 8, length & 255)) + payload
    return bytes((_TEXT, _LENGTH_IN_EIGHT_BYTES)) + length.to_bytes(8, "big") + payload


class StallTimeout(asyncio.Protocol):
    """Cuts off a client that does not read. A mix-in for uvicorn's protocols."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(high=BUFFER)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_timer(self.loop.time() + ROOM_TIMEOUT)

    def resume_writing(self) -> None:
        self._stop_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def cut_off(self) -> None:
        self.transport.abort()

    def _start_timer(self, deadline: float) -> None:
        left = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(STALL_TIMEOUT, self._check, left, deadline)

    def _check(self, before: int, deadline: float) -> None:
        drains = self.transport.get_write_buffer_size() < before
        if drains and self.loop.time() < deadline:
            self._start_timer(deadline)
        else:
            self.cut_off()

    def _stop_timer(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None


class Body:
    """The body of one HTTP response, written in chunks. A Direct."""

    __slots__ = ("_answer", "_connection")

    def __init__(self, cycle: RequestResponseCycle, connection: LimitedRequests) -> None:
        self._answer = ref(cycle)  # whose scope holds this; in use only while it is being sent
        self._connection = ref(connection)

    def try_write(self, message: bytes) -> bool:
        cycle = self._answer()
        if cycle is None or cycle.flow.write_paused or not _is_open(cycle):
            return False
        chunk = b"%x\r\n%b\r\n" % (len(message), message) if cycle.chunked_encoding else message
        cycle.transport.write(chunk)
        return True

    async def room(self) -> None:
        cycle = self._answer()
        if cycle is None or not _is_open(cycle):
            raise ClientDisconnected
        await cycle.flow.drain()

    def cut(self) -> None:
        """End the connection in the middle of the answer, so that it is not taken for whole."""
        cycle = self._answer()
        if cycle is not None:
            cycle.transport.abort()

    def dedicate(self) -> None:
        cycle, connection = self._answer(), self._connection()
        if cycle is not None and connection is not None:
            cycle.keep_alive = False
            connection.leave()


def _is_open(cycle: RequestResponseCycle) -> bool:
    """Whether the answer's head has been sent, and its end has not."""
    return cycle.response_started and not (
        cycle.disconnected or cycle.response_complete or cycle.transport.is_closing()
    )


class Http(StallTimeout, LimitedRequests, ImmediateAnswers):
    """A connection that speaks HTTP. It offers the application DIRECT, for each request anew."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle is None or self.cycle.scope is not self.scope:
            return  # it becomes a WebSocket
        if self.shared.draining:
            self.cycle.keep_alive = False  # so uvicorn sends `Connection: close`
        self.scope["extensions"] = {DIRECT: Body(self.cycle, self)}  # type: ignore[dict-item]
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = UnchunkedCycle


class UnchunkedCycle(RequestResponseCycle):
    """Answers an HTTP/1.0 client, which knows no chunks: the body ends with its connection.

    uvicorn 0.54 has chunks for every answer without a Content-Length.
    """

    async def send(self, message: Any) -> None:
        self.chunked_encoding = False
        self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


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
        if not self.writable.is_set() or not self._open():
            return False
        self.transport.write(text_frame(message))
        return True

    async def room(self) -> None:
        if not self._open():
            raise ClientDisconnected
        await self.writable.wait()

    def _open(self) -> bool:
        return not self.disconnected and self.conn.state is State.OPEN

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            # Some 4 KiB that are not read again; websockets' parser holds the request for ever.
            self.request.headers.clear()
            del self.request, self.response

    def cut_off(self) -> None:
        if self.conn.state is State.OPEN:
            self.conn.send_close(CloseCode.TRY_AGAIN_LATER, "You do not read; come again")
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.loop.call_later(GRACE, self.transport.abort)
