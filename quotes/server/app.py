"""The web process: Starlette around the schema, and its lifespan."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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

from quotes import metrics
from quotes.api.context import Context
from quotes.api.plans.answers import Answers
from quotes.api.plans.plans import Plans
from quotes.api.plans.subscriptions import Payloads
from quotes.background import Ended
from quotes.database.collected import Collected, open_collected
from quotes.database.sessions import Sessions
from quotes.export.digests import Digests
from quotes.live import delivery
from quotes.live.candle_log import CandleStreams
from quotes.live.fan_out import open_fan_out
from quotes.live.feed import open_feed
from quotes.live.newest import Newest
from quotes.live.replica import open_replica
from quotes.live.single_flight import SingleFlight
from quotes.server import sse
from quotes.server.access import Access, open_access
from quotes.server.exports.download import Exports
from quotes.server.exports.endpoint import PREFIX as EXPORT
from quotes.server.exports.endpoint import ExportEndpoint
from quotes.server.health import Health, open_health
from quotes.server.http import endpoint
from quotes.server.http.shortcut import Shortcut
from quotes.server.lanes import open_lanes
from quotes.server.limits.admission import Admission
from quotes.server.limits.budgets import Budgets
from quotes.server.limits.connection_limits import ConnectionLimits
from quotes.server.limits.export_limits import ExportLimits
from quotes.server.limits.host_check import HostCheck
from quotes.server.operations import Streams
from quotes.server.pages import NOT_BUILT, Site, WithExplorer
from quotes.server.udf.endpoint import PREFIX as UDF
from quotes.server.udf.endpoint import UdfEndpoint
from quotes.server.websocket import WebSocketEndpoint
from quotes.settings import FAILED, REFUSED, Settings, SettingsError

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
        lifespan=_lifespan(settings),
    )


def _redirects(root_path: str) -> list[Route]:
    """From the root path itself to the page in it, whose links are relative."""

    async def redirect(request: Request) -> Response:
        return RedirectResponse(f"{root_path}/", status_code=308)

    return [Route(root_path, redirect)] if root_path else []


def _lifespan(settings: Settings) -> Callable[[Starlette], Any]:
    settings.require_database_url()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        ended = partial(_loop_ended, app)
        async with (
            open_lanes(settings) as lanes,
            open_feed(
                lanes.live, lanes.listen, lanes.replays, settings.replay_connections, ended
            ) as (feed, task),
            open_replica(
                lanes.replica, feed.tail, ended, queries=lanes.sessions, replays=lanes.replays
            ) as replica,
        ):
            feed.replays.replica = replica
            single_flight = SingleFlight(feed)
            collected = Collected(settings.selection, Sessions(lanes.health))
            context = Context(
                settings,
                lanes.sessions,
                lanes.queries,
                lanes.replays,
                feed,
                single_flight,
                Newest(feed, lanes.replays, single_flight),
                collected,
                replica=replica,
            )
            access = Access(
                Sessions(lanes.health),
                required=settings.access == "token",
                most_sockets=settings.max_sockets_per_address,
            )
            async with (
                metrics.measured_loop(),
                open_access(access, ended),
                open_streams(context, access, ended) as streams,
                open_collected(collected, ended),
                open_health(Health(lanes.health, streams, task), ended) as health,
            ):
                app.state.context = context
                app.state.streams = streams
                app.state.exports = Exports(
                    lanes.exports, ExportLimits(settings.max_exports), Digests()
                )
                app.state.health = health
                log.info("api_ready", host=settings.host, port=settings.port)
                yield

    return lifespan


@asynccontextmanager
async def open_streams(context: Context, access: Access, ended: Ended) -> AsyncIterator[Streams]:
    """`ended` is called with the fan-out's task when that ends."""
    settings = context.settings
    connection_limits = ConnectionLimits(
        most=settings.max_sockets, most_of_an_address=settings.max_sockets_per_address
    )
    candles = CandleStreams(context.replays, context.feed, context.single_flight)
    async with open_fan_out(context.feed, delivery.measure, ended) as fan_out:
        admission = Admission(settings.query_connections, settings.query_wait)
        plans = Plans(context, Answers(context.feed, settings.answer_cache << 20))
        context.collection.changed = lambda _: plans.answers.clear()  # they show what is collected
        yield Streams(
            context,
            plans,
            Payloads(context.collection),
            fan_out,
            candles,
            access,
            connection_limits,
            admission,
            Budgets(settings.points_per_minute),
            set(),
        )


def _loop_ended(app: Starlette, task: asyncio.Task[None]) -> None:
    """Without its loops a web process would never deliver again: it ends, to be restarted."""
    if task.cancelled():
        return
    error = task.exception()
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    known = isinstance(error, SettingsError)  # its message names what to correct
    log.critical(
        "loop_ended", loop=task.get_name(), reason=str(error), exc_info=not known and error
    )
    app.state.exit_status = REFUSED if known else FAILED
    signal.raise_signal(signal.SIGTERM)


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
