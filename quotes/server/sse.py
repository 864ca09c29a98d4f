"""Server-sent events: one operation as the body of one HTTP answer.

The rules are those of graphql-sse's distinct connections mode. Beyond them each quote has its
cursor as the event's `id`, so a browser's own EventSource goes on from there when it reconnects.
"""

import asyncio
import json
from contextlib import aclosing

import structlog
from starlette.requests import Request
from starlette.types import Send

from quotes.api.errors import Code
from quotes.server.connection_limits import CrowdedError
from quotes.server.error_response import error_response
from quotes.server.operations import AwayError, FailedError, Operation, Streams
from quotes.server.websocket import address_of

log = structlog.get_logger()

HEARTBEAT = 15.0  # seconds between comments that keep proxies from closing a quiet stream
RETRY = 1_000  # ms that an EventSource waits before it reconnects
SEND_TIMEOUT = 15.0  # seconds; the wire cuts off who does not read before that

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]


async def respond(operation: Operation, request: Request, send: Send) -> None:
    """Answer the request with the operation's events."""
    streams: Streams = request.app.state.streams
    try:
        with streams.crowd.joined(address_of(request.scope)):
            await _flow(operation, request, streams, send)
    except CrowdedError as error:
        response = error_response(503, str(error), code=Code.TOO_MANY)
        await response(request.scope, request.receive, send)


async def _flow(operation: Operation, request: Request, streams: Streams, send: Send) -> None:
    """Until the operation or the client's interest ends, or the server is told to stop."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    resume = request.headers.get("last-event-id") or None
    ends = [
        asyncio.create_task(_carry(operation, resume, streams, send)),
        asyncio.create_task(_beat(send)),
        asyncio.create_task(_gone(request)),
        asyncio.create_task(streams.ending.wait()),
    ]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in ends:
            task.cancel()
        outcomes = await asyncio.gather(*ends, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
            raise outcome
    await send({"type": "http.response.body", "body": b""})


async def _carry(operation: Operation, resume: str | None, streams: Streams, send: Send) -> None:
    await _write(send, f"retry: {RETRY}\n\n")
    payloads = streams.payloads(operation, resume)
    try:
        async with aclosing(payloads):
            async for payload, cursor in payloads:
                place = "" if cursor is None else f"id: {cursor}\n"
                await _write(send, f"event: next\n{place}data: {payload}\n\n")
    except FailedError as failed:
        payload = json.dumps({"errors": failed.errors})
        await _write(send, f"event: next\ndata: {payload}\n\n")
    except AwayError:
        return  # without `complete`, so that the client comes again
    await _write(send, "event: complete\ndata:\n\n")


async def _write(send: Send, text: str) -> None:
    async with asyncio.timeout(SEND_TIMEOUT):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _beat(send: Send) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT)
        await _write(send, ":\n\n")


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
