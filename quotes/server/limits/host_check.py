"""What is rejected before it reaches the schema: foreign Host names."""

import ipaddress
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from quotes.server.http.error_response import error_response


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
        if scope["type"] == "lifespan" or self.admits(scope):
            await self.app(scope, receive, send)
        else:
            await self._refuse_host(scope, receive, send)

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
