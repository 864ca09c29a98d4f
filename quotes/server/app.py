"""The web process's application: Starlette around the schema."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from quotes.server.exports.endpoint import PREFIX as EXPORT
from quotes.server.exports.endpoint import ExportEndpoint
from quotes.server.http import endpoint
from quotes.server.http.shortcut import Shortcut
from quotes.server.lifespan import lifespan_of
from quotes.server.limits.host_check import HostCheck
from quotes.server.monitoring.health import Health
from quotes.server.pages import NOT_BUILT, Site, WithExplorer
from quotes.server.streams import sse
from quotes.server.streams.websocket import WebSocketEndpoint
from quotes.server.udf.endpoint import PREFIX as UDF
from quotes.server.udf.endpoint import UdfEndpoint
from quotes.settings import Settings

log = structlog.get_logger()


class Web(Starlette):
    """Starlette for pages and health; GraphQL bypasses it, but not the host check.

    Each layer of middleware would hold a frame for as long as a socket is open, a quarter of all
    its memory, and add to the time of each answer: a tenth, with a router.
    """

    def __init__(
        self, sockets: HostCheck, graphql: HostCheck, *, root_path: str, **starlette: Any
    ) -> None:
        super().__init__(**starlette)
        self.router.redirect_slashes = False  # it would redirect past the root path
        self._root_path = root_path
        self._sockets = sockets
        self._graphql = graphql
        self.immediate = Shortcut(self.state, sockets.admits, root_path).immediate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._root_path and scope["type"] != "lifespan":
            scope["path"] = self._within(scope["path"])
        if scope["type"] == "websocket":
            scope["app"] = self
            await self._sockets(scope, receive, send)
            return
        if scope["type"] == "http" and _reads(scope["path"]):
            scope["app"] = self
            await endpoint.enter(scope)
            if scope["path"] in endpoint.PATHS:
                await self._graphql(scope, receive, send)
                if stream := scope.pop(sse.STREAM, None):
                    await stream.run(receive, send)
                return
        await super().__call__(scope, receive, send)

    def _within(self, path: str) -> str:
        """The path under the root path, which some proxies remove and some pass on."""
        root = self._root_path
        return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _reads(path: str) -> bool:
    """Whether it is an address of data, to which all limits apply."""
    return path in endpoint.PATHS or path.startswith((EXPORT, UDF))


def create_app(settings: Settings) -> Starlette:
    """The application; it opens its pool and its feed in its lifespan, and starts without them."""
    site = Site(explorable=settings.introspection)
    if not site.built:
        log.warning("page_not_built", how=NOT_BUILT.strip())
    graphql: Any = WithExplorer(endpoint.Endpoint(), site)
    export: Any = ExportEndpoint()
    udf: Any = UdfEndpoint()
    sockets = WebSocketEndpoint(origins=settings.allowed_origins)
    hosts = partial(HostCheck, host=settings.host, origins=settings.allowed_origins)
    cors = partial(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_methods=["GET", "POST"],
        allow_headers=[
            "authorization",
            "content-type",
            "if-none-match",
            "if-range",
            "last-event-id",
            "range",
        ],
        expose_headers=["content-disposition", "content-range", "etag", "retry-after"],
        max_age=600,
    )
    return Web(
        hosts(sockets),
        hosts(cors(graphql)),
        root_path=settings.root_path,
        routes=[
            Route(f"{EXPORT}{{path:path}}", export),
            Route(f"{UDF}{{name:path}}", udf),
            *_redirects(settings.root_path),
            Route("/healthz", _answer(Health.alive)),
            Route("/readyz", _answer(Health.ready)),
            Route("/freshz", _answer(Health.fresh)),
            *site.routes(),
        ],
        middleware=[Middleware(hosts), Middleware(cors)],
        lifespan=lifespan_of(settings),
    )


def _redirects(root_path: str) -> list[Route]:
    """From the root path itself to the page in it, whose links are relative."""

    async def redirect(request: Request) -> Response:
        return RedirectResponse(f"{root_path}/", status_code=308)

    return [Route(root_path, redirect)] if root_path else []


def _answer(
    check: Callable[[Health], dict[str, Any]],
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        report = check(request.app.state.health)
        return JSONResponse(
            report,
            status_code=200 if report["ok"] else 503,
            headers={"Cache-Control": "no-store"},
        )

    return answer
