"""Limits on what is received as HTTP: bytes, time and connections. uvicorn has hardly any.

A client is refused with a status where that can be sent, and else its connection is closed. It
has `first_byte_timeout` to begin its first request, `header_timeout` for the headers of each, and
`body_timeout` for a body, plus a second for each `body_rate` bytes of it. Between two requests it
has `keep_alive`, which is uvicorn's own.
"""

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from quotes.server.http.error_response import last_answer
from quotes.server.limits.connection_limits import TooManyConnectionsError, network_of
from quotes.server.protocol.phases import ENDED, NOTHING, Phase, Phases
from quotes.server.protocol.shared import Shared

if TYPE_CHECKING:
    from quotes.server.limits.open_connections import Place

GRACE = 2.0  # seconds that a refused client may go on sending, so that it reads its answer
MOST_EXCESS = 256  # connections beyond a limit that are answered at once; further ones are cut off


class RefusedError(Exception):
    """A request was refused, so that its parser has to stop."""


class LimitedRequests(Phases):
    """A connection whose requests are limited, to be extended by what offers them to ASGI."""

    __slots__ = ("_body", "_excess", "_is_busy", "_latest", "_open", "_place", "_unread", "shared")

    def __init__(self, config: Config, server_state: ServerState, *rest: Any, **named: Any) -> None:
        super().__init__(config, server_state, *rest, **named)
        assert isinstance(server_state, Shared)
        self.shared = server_state
        self.url = b""  # uvicorn has neither before a request has begun
        self.headers = []
        self._open = server_state.open_connections
        self._place: Place | None = None
        self._excess: TooManyConnectionsError | None = None
        self._is_busy = False
        self._latest = 0  # bytes received last
        self._unread = 0  # bytes since the request began, or since the last of its body
        self._body = 0  # bytes of its body

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        address = network_of(self.client[0]) if self.client else ""
        try:
            self._place = self._open.take(address, self._close)
        except TooManyConnectionsError as error:
            self._excess = error
            self._open.excess += 1
            self._expect(Phase.EXCESS, GRACE)
            if self._open.excess > MOST_EXCESS:
                transport.abort()
        else:
            self._expect(Phase.OPENED, self.shared.settings.first_byte_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._phase in ENDED:
            return
        if self._excess is not None:
            self._refuse(503, str(self._excess))
            return
        cycle = self.cycle
        answered, body = cycle is None or cycle.response_complete, 0
        if not answered:
            body = len(cycle.body)
        self._latest = len(data)
        self._unread += self._latest
        super().data_received(data)
        if self._phase in ENDED:
            return
        if self.cycle is not cycle:
            self._timed, answered, body = None, False, 0
        if not answered and self._is_done():
            self._rest()
        else:
            self._proceed(body)

    def on_headers_complete(self) -> None:
        # Few bytes, whatever they are, are within the limits.
        many = self._unread + self._latest > self.shared.short
        if (many or len(self.headers) > self.shared.settings.max_header_fields) and self._exceed():
            self._refuse_headers()
            raise RefusedError
        self._unread = self._body = 0
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_busy and self._phase is Phase.NOTHING and self.cycle.response_complete:
            self._rest()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "That is no valid HTTP request.")

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to a WebSocket, with its place, which that gives back."""
        if self._phase in ENDED:
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._close()
            return
        place, self._place = self._place, None
        self._leave()
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # else they would hold each other
        socket: Any = self.transport.get_protocol()
        if place is not None:
            self._open.busy(place)
            socket.release = partial(self._open.leave, place)
        socket.require_handshake()

    def leave(self) -> None:
        """Count no longer among the connections that requests come on."""
        if self._place is not None:
            self._open.leave(self._place)
            self._place = None

    def _leave(self) -> None:
        self._phase = Phase.GONE
        self.leave()
        if self._excess is not None:
            self._open.excess -= 1
            self._excess = None
        self._stop_deadline()

    def _close(self) -> None:
        self._leave()
        self.transport.close()

    def _is_done(self) -> bool:
        """Whether all that was received is answered already, as by `ImmediateAnswers`."""
        cycle = self.cycle
        return cycle.response_complete and not cycle.more_body and cycle.scope is self.scope

    def _rest(self) -> None:
        """No request is under way."""
        self._phase, self._timed, self._unread = NOTHING, None, 0
        if self._place is None:
            return
        if self._is_busy:
            self._open.idle(self._place)
            self._is_busy = False
        else:
            self._place.used = True

    def _proceed(self, body: int) -> None:
        """A request is under way, of whose body so many bytes had been there before."""
        if not self._is_busy and self._place is not None:
            self._open.busy(self._place)
        self._is_busy = True
        limits, cycle = self.shared.settings, self.cycle
        if cycle is None or cycle.scope is not self.scope or self._is_done():
            self._follow(Phase.HEADERS, limits.header_timeout)
        elif cycle.more_body:
            self._count(self._latest if cycle.response_complete else len(cycle.body) - body)
            self._follow(Phase.BODY, limits.body_timeout)
        else:
            self._phase, self._timed, self._unread = Phase.NOTHING, None, 0
            self._count(len(cycle.body) - body)
        if self._unread > limits.max_url + limits.max_headers:
            self._refuse_headers()

    def _follow(self, phase: Phase, seconds: float) -> None:
        if self._phase not in ENDED and self._timed is not phase:
            self._expect(phase, seconds)

    def _count(self, received: int) -> None:
        """More of a body has been received."""
        if received:
            self._unread = 0
        self._body += received
        if self._body > self.shared.settings.max_body:
            most = self.shared.settings.max_body
            self._refuse(413, f"A request's body holds at most {most:,} bytes.")

    def _exceed(self) -> bool:
        fields, limits = self.headers, self.shared.settings
        if len(fields) > limits.max_header_fields:
            return True
        length = sum([len(name) + len(value) for name, value in fields])
        return len(self.url) > limits.max_url or length > limits.max_headers

    def _refuse_headers(self) -> None:
        limits = self.shared.settings
        if len(self.url) > limits.max_url:
            self._refuse(414, f"A URL holds at most {limits.max_url:,} bytes.")
        else:
            most = f"{limits.max_header_fields} headers, with {limits.max_headers:,} bytes in all"
            self._refuse(431, f"A request has at most {most}.")

    def _extension(self) -> float:
        return self._body / self.shared.settings.body_rate if self._phase is Phase.BODY else 0.0

    def _overdue(self) -> None:
        limits = self.shared.settings
        if self._phase is Phase.HEADERS:
            self._refuse(408, f"A request's headers arrive within {limits.header_timeout:g} s.")
        elif self._phase is Phase.BODY:
            more = f"and 1 s more for each {limits.body_rate:,} bytes"
            self._refuse(408, f"A request's body arrives within {limits.body_timeout:g} s, {more}.")
        elif self._phase is Phase.REFUSED:
            self.transport.abort()
        else:
            self._close()

    def _refuse(self, status: int, message: str) -> None:
        """Answer, unless another answer is under way, and close the connection.

        It is not closed at once: to a client that still sends, the kernel would then send a reset,
        upon which the client might never read its answer.
        """
        if self._phase in ENDED:
            return
        self._open.refused[status] += 1
        if self.transport.is_closing() or not self._is_answerable():
            self._close()
            return
        self._unset_keepalive_if_required()
        self._stop_deadline()
        if self.cycle is not None:
            self.cycle.disconnected = True  # to whoever reads its body
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
        self._expect(Phase.REFUSED, GRACE)
        self.parser = None  # type: ignore[assignment]  # it may hold an unfinished header
        self.flow.resume_reading()
        self.transport.write(last_answer(status, message, self.shared.default_headers))
        with suppress(OSError):  # the client has left
            self.transport.write_eof()

    def _is_answerable(self) -> bool:
        if self.cycle is None:
            return True
        if self._phase is Phase.BODY:
            return not (self.cycle.response_started or self.pipeline)
        return self.cycle.response_complete
