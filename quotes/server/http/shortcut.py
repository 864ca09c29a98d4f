"""A fast path from an ordinary POST to its cached answer, past what only other requests need.

All it decides is that the cache has the answer. Every other request is answered as if this were not
there.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import orjson
from starlette.datastructures import State
from starlette.types import Scope

from quotes.api.plans.answers import Answer
from quotes.server.graphql_request import MalformedError, Operation
from quotes.server.http import codings
from quotes.server.http.codings import Coding
from quotes.server.http.request import Media, preferences
from quotes.server.http.response import headers_of
from quotes.server.operations import Streams

PATH = "/graphql"
_JSON = {b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"}
_UNUSUAL = {b"origin", b"content-encoding"}  # CORS adds headers; a compressed body is refused


class Shortcut:
    """`state` is the application's, with its `streams`; `admits` is the host check.

    With a root path, requests for the endpoint below it are answered, too.
    """

    def __init__(self, state: State, admits: Callable[[Scope], bool], root_path: str) -> None:
        self._state = state
        self._admits = admits
        self._paths = (PATH, f"{root_path}{PATH}")

    def immediate(self, scope: Scope, body: bytes) -> Sequence[bytes] | None:
        """As `quotes.server.protocol.immediate.Application`."""
        form = _form(scope) if scope["path"] in self._paths else None
        if form is None or not self._admits(scope):
            return None
        streams: Streams = self._state.streams
        streams.access.identify(scope)
        answer = _known(streams, body) if streams.access.admits(scope) else None
        if answer is None:
            return None
        media, coding = form
        if coding is None or len(answer.body) <= codings.SHORT:
            coding, body = None, answer.body
        elif (coded := answer.coded.get(coding)) is None:
            return None
        else:
            body = coded
        answer.uses.count += 1
        return _head(media, coding) % len(body), body


def _known(streams: Streams, body: bytes) -> Answer | None:
    try:
        operation = Operation.of(orjson.loads(body))
    except (ValueError, MalformedError):
        return None
    if operation.shows_cost:
        return None
    answer = streams.plans.known(operation.query, operation.name, operation.variables)
    return answer if answer is not None and streams.admission.enter_now() else None


def _form(scope: Scope) -> tuple[Media, Coding | None] | None:
    """How the answer is sent; None for any other than the ordinary request."""
    if scope["type"] != "http" or scope["method"] != "POST":
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
def _head(media: Media, coding: Coding | None) -> bytes:
    """With a place for the length."""
    headers = headers_of(media)
    if coding is not None:
        headers["Content-Encoding"] = coding
    lines = [f"{name.lower()}: {value}\r\n" for name, value in headers.items()]
    return "".join([*lines, "content-length: %d\r\n\r\n"]).encode()
