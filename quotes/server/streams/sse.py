"""Server-sent events: one operation as the body of one HTTP answer.

The rules are those of graphql-sse's distinct connections mode. Beyond them each quote has its
cursor as the event's `id`, so a browser's EventSource resumes from there when it reconnects.
"""

import asyncio
import json
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send

from quotes.api.errors import Code
from quotes.database.errors import UnavailableError
from quotes.live.subscriber import SinkClosedError
from quotes.server.access import HOLDER, client_of
from quotes.server.graphql_request import Operation
from quotes.server.http.error_response import error_response
from quotes.server.limits.connection_limits import TooManyConnectionsError
from quotes.server.operations import FailedError, Streams
from quotes.server.protocol.connection import DIRECT, Connection
from quotes.server.streams.operation_sink import OperationSink

log = structlog.get_logger()

STREAM = "quotes.stream"  # in a request's scope: what runs the stream that was begun
HEARTBEAT = 15.0  # seconds between comments, so that proxies do not close an idle stream
NEWEST = ""  # in place of a cursor to resume after
COMPLETE = "complete"  # the id of the last event, which no cursor is
RETRY = 1_000  # ms that an EventSource waits before it reconnects

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would buffer events
]


async def respond(operation: Operation, request: Request, send: Send) -> None:
    """Begin a stream of the operation's events; with 204 where they have all been seen.

    The rest of it is left in the scope as STREAM, to be run once all middleware has returned, whose
    frames would otherwise be held for as long as the stream, some 3 KiB.

    An EventSource reconnects for ever when its stream has ended: only a 204 stops it.
    """
    if request.headers.get("last-event-id") == COMPLETE:
        await Response(status_code=204)(request.scope, request.receive, send)
        return
    scope, streams = request.scope, request.app.state.streams
    try:
        with ExitStack() as connection:
            connection.enter_context(streams.connection_limits.connected(client_of(scope)))
            running: list[asyncio.Task[None]] = []
            ended = streams.access.connected(scope.get(HOLDER), partial(_cancel, running))
            connection.enter_context(ended)
            body: Connection = scope["extensions"][DIRECT]
            body.dedicate()
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            resume = request.headers.get("last-event-id") or None
            sink = OperationSink(body, event)
            scope[STREAM] = EventStream(
                connection.pop_all(), streams, operation, resume, sink, running
            )
            scope["headers"].clear()  # uvicorn holds them as long as the stream
    except TooManyConnectionsError as error:
        response = error_response(503, str(error), code=Code.TOO_MANY)
        await response(request.scope, request.receive, send)


@dataclass(frozen=True, slots=True)
class EventStream:
    """A response whose head has been sent, and an operation whose payloads are its body."""

    connection: ExitStack  # which ends with the stream
    streams: Streams
    operation: Operation
    resume: str | None
    sink: OperationSink
    running: list[asyncio.Task[None]]  # what delivers, while it does

    async def run(self, receive: Receive, send: Send) -> None:
        """Until the operation ends, the client disconnects or the server shuts down."""
        with self.connection:
            await self._deliver_until_gone(receive)
            await send({"type": "http.response.body", "body": b""})

    async def _deliver_until_gone(self, receive: Receive) -> None:
        running = asyncio.create_task(self._deliver())
        self.running.append(running)
        gone = asyncio.create_task(_disconnected(receive))
        heartbeat = Heartbeat(self.sink)
        self.streams.ended_by_shutdown.add(running)
        try:
            await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.streams.ended_by_shutdown.discard(running)
            heartbeat.stop()
            running.cancel()
            gone.cancel()
            outcomes = await asyncio.gather(running, gone, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, SinkClosedError):
                raise outcome

    async def _deliver(self) -> None:
        """Write the operation's payloads, and how it ended."""
        resume = self.resume
        await self.sink.write(f"retry: {RETRY}\n\n".encode())
        while True:
            try:
                await self.streams.deliver(self.operation, self.sink, resume)
            except FailedError as failed:
                errors = json.dumps({"errors": failed.errors}).encode()
                if failed.cursor_is_lost:
                    # An EventSource would reconnect with that cursor each second: it is sent the
                    # error, without an id to resume after, and then the newest quotes.
                    await self.sink.write(event(errors, ""))
                    resume = NEWEST
                    continue
                await self.sink.write(event(errors, None))
            except UnavailableError:
                return  # without `complete`, so that the client reconnects
            await self.sink.write(b"event: complete\nid: %b\ndata:\n\n" % COMPLETE.encode())
            return


async def _cancel(running: list[asyncio.Task[None]]) -> None:
    for task in running:
        task.cancel()


def event(payload: bytes, cursor: str | None) -> bytes:
    """A `next` event; the cursor, if it has one, is what an EventSource resumes after."""
    place = b"" if cursor is None else b"id: %b\n" % cursor.encode()
    return b"event: next\n%bdata: %b\n\n" % (place, payload)


class Heartbeat:
    """Writes a comment periodically, unless the connection's buffer is full."""

    __slots__ = ("_loop", "_next", "_sink")

    def __init__(self, sink: OperationSink) -> None:
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_later(HEARTBEAT, self._beat)

    def _beat(self) -> None:
        self._sink.try_write(b":\n\n")
        self._next = self._loop.call_later(HEARTBEAT, self._beat)

    def stop(self) -> None:
        self._next.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
