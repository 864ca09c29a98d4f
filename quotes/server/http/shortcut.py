"""A fast path from an ordinary POST to its cached answer, past what only other requests need.

All it decides is that the cache has the answer. Every other request is passed on with all that was
received, and answered as if this were not there.
"""

from collections.abc import Callable
from functools import lru_cache

import orjson
from starlette.datastructures import State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quotes.api.plans.answers import Answer
from quotes.server.http import codings
from quotes.server.http.codings import Coding
from quotes.server.http.endpoint import headers_of
from quotes.server.http.request import Media, preferences
from quotes.server.operations import MalformedError, Operation

PATH = "/graphql"
_JSON = {b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"}
_UNUSUAL = {b"origin", b"content-encoding"}  # CORS adds headers; a compressed body is refused


class Shortcut:
    """ASGI in front of `app`. `state` is the application's, with its `streams`."""

    def __init__(self, app: ASGIApp, state: State, admits: Callable[[Scope], bool]) -> None:
        self._app = app
        self._state = state
        self._admits = admits  # the host check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        form = _form(scope)
        if form is None or not self._admits(scope):
            await self._app(scope, receive, send)
            return
        message = await receive()
        answer = await self._cached(message)
        if answer is None:
            await self._app(scope, _replayed(message, receive), send)
            return
        media, coding = form
        body = answer.body
        if coding is not None and len(body) > codings.SHORT:
            body = await codings.coded(answer, coding, self._state.streams.plans.answers)
        else:
            coding = None
        headers = [*_headers(media, coding), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _cached(self, message: Message) -> Answer | None:
        if message["type"] != "http.request" or message.get("more_body"):
            return None
        try:
            operation = Operation.of(orjson.loads(message["body"]))
        except (ValueError, MalformedError):
            return None
        plans = self._state.streams.plans
        found: Answer | None = await plans.cached(
            operation.query, operation.name, operation.variables
        )
        return found


def _form(scope: Scope) -> tuple[Media, Coding | None] | None:
    """How the answer is sent; None for any other than the ordinary request."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != PATH:
        return None
    headers = dict(scope["headers"])
    if len(headers) != len(scope["headers"]) or not _UNUSUAL.isdisjoint(headers):
        return None
    if headers.get(b"content-type") not in _JSON:
        return None
    return _best(headers.get(b"accept", b"*/*"), headers.get(b"accept-encoding", b""))


@lru_cache(256)
def _best(accept: bytes, encoding: bytes) -> tuple[Media, Coding | None] | None:
    media = preferences(accept.decode("latin-1"))
    if not media or media[0] is Media.EVENTS:
        return None
    return media[0], codings.best(encoding.decode("latin-1"))


@lru_cache(8)
def _headers(media: Media, coding: Coding | None) -> tuple[tuple[bytes, bytes], ...]:
    headers = headers_of(media)
    if coding is not None:
        headers["Content-Encoding"] = coding
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


def _replayed(first: Message, receive: Receive) -> Receive:
    """`receive`, with the message that has already been received in front."""
    waiting = [first]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
