"""A connection that speaks HTTP, and the body of its answer, written to directly."""

from collections.abc import Sequence
from typing import Any
from weakref import ref

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected

from quotes.server.protocol.connection import DIRECT
from quotes.server.protocol.immediate import ImmediateAnswers
from quotes.server.protocol.request_limits import LimitedRequests
from quotes.server.protocol.stalls import StallTimeout


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

    def try_write_all(self, messages: Sequence[bytes]) -> bool:
        return self.try_write(b"".join(messages))

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
