"""Server-sent events: one operation as the body of one HTTP answer.

The rules are those of graphql-sse's distinct connections mode. Beyond them each quote has its
cursor as the event's `id`, so a browser's own EventSource goes on from there when it reconnects.
"""

import asyncio
import json
from contextlib import aclosing
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quotes.api.errors import Code
from quotes.api.payloads import subscribes, valid
from quotes.server.connection_limits import CrowdedError
from quotes.server.operations import (
    AwayError,
    FailedError,
    MalformedError,
    Operation,
    Streams,
    json_of,
)
from quotes.server.websocket import address_of

log = structlog.get_logger()

EVENTS = "text/event-stream"
HEARTBEAT = 15.0  # seconds between comments that keep proxies from closing a quiet stream
RETRY = 1_000  # ms that an EventSource waits before it reconnects
SEND_TIMEOUT = 15.0  # seconds; the wire cuts off who does not read before that

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]


class Events:
    """ASGI: answers what wants a stream of events, and leaves all else to `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        place = place_of_events(request.headers.get("accept", ""))
        if place is None or request.method not in {"GET", "POST"}:
            await self.app(scope, receive, send)
            return
        body = await request.body()
        try:
            operation = await operation_of(request)
        except MalformedError as error:
            if place == 0:
                await _refused(400, Code.BAD_INPUT, str(error))(scope, receive, send)
                return
            operation = None
        if operation is not None and (place == 0 or _streams(operation)):
            await _answer(operation, request, send)
        else:
            await self.app(scope, _replayed(body, receive), send)


def place_of_events(accept: str) -> int | None:
    """How many media types the client likes better than events; None if it does not take them."""
    liked: list[tuple[float, str]] = []
    for each in accept.split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        liked.append((_quality(parameters), name))
    wanted = [name for quality, name in sorted(liked, key=lambda like: -like[0]) if quality > 0]
    return wanted.index(EVENTS) if EVENTS in wanted else None


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


async def operation_of(request: Request) -> Operation:
    """From the URL of a GET, the JSON body of a POST. Raises MalformedError."""
    if request.method == "POST":
        return Operation.of(json_of(await request.body()))
    asked: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if name in asked:
            asked[name] = json_of(asked[name])
    return Operation.of(asked)


def _streams(operation: Operation) -> bool:
    document = valid(operation.query)
    return document is not None and subscribes(document, operation.name)


def _refused(status: int, code: Code, message: str) -> JSONResponse:
    error = {"message": message, "extensions": {"code": code.value}}
    return JSONResponse({"errors": [error]}, status_code=status)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What gives the body that was read already once more."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return whole.pop() if whole else await receive()

    return replayed


async def _answer(operation: Operation, request: Request, send: Send) -> None:
    streams: Streams = request.app.state.streams
    try:
        with streams.crowd.joined(address_of(request.scope)):
            await _flow(operation, request, streams, send)
    except CrowdedError as error:
        refusal = _refused(503, Code.TOO_MANY, str(error))
        await refusal(request.scope, request.receive, send)


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
