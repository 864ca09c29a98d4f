"""What is rejected before it reaches the schema: foreign Host names and bodies too large."""

import ipaddress
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from quotes.server.http.error_response import error_response

MAX_BODY = 128 * 1024  # bytes; the explorer's introspection query is 2 KB


class BodyTooLargeError(Exception):
    """A request's body went over MAX_BODY while it was being read."""


class HostCheck:
    """ASGI middleware. `origins` are the browsers' origins that may use this service by name.

    A page on another site can make its own name resolve to this machine (DNS rebinding), and is
    then of our origin to the browser; but its Host header gives it away. An address or a name
    without a dot cannot be a public name, and is accepted.
    """

    def __init__(self, app: ASGIApp, *, host: str, origins: Collection[str]) -> None:
        self.app = app
        self.hosts = {host, *(urlsplit(origin).hostname for origin in origins)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif not self.admits(scope):
            await self._refuse_host(scope, receive, send)
        elif scope["type"] == "http":
            await self._bounded(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def admits(self, scope: Scope) -> bool:
        """Whether the request's Host is a name of this service."""
        name = _name(dict(scope["headers"]).get(b"host", b""))
        return name is not None and (name in self.hosts or "." not in name or _is_address(name))

    async def _refuse_host(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose(1008, "unknown Host")(scope, receive, send)
            return
        answer = error_response(
            421,
            "This service does not go by that Host name. Add its origin to QUOTES_ALLOWED_ORIGINS.",
        )
        await answer(scope, receive, send)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = 0
        answered = False

        async def bounded_receive() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY:
                raise BodyTooLargeError
            return message

        async def noted_send(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, bounded_receive, noted_send)
        except BodyTooLargeError:
            if not answered:
                await error_response(413, f"A request's body holds at most {MAX_BODY:,} bytes.")(
                    scope, receive, send
                )


@lru_cache(256)
def _name(header: bytes) -> str | None:
    """The name in a Host header, without a port; None where there can be none."""
    try:
        return urlsplit(f"//{header.decode('latin-1')}").hostname or ""
    except ValueError:
        return None


@lru_cache(256)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
