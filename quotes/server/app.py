"""The web process: Starlette around the schema, its lifespan, and uvicorn that runs it."""

import asyncio
import gc
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from quotes.api.context import Context
from quotes.api.payloads import Payloads
from quotes.api.plans.answers import Answers
from quotes.api.plans.plans import Plans
from quotes.live.candle_log import CandleStreams
from quotes.live.fan_out import open_fan_out
from quotes.live.feed import open_feed
from quotes.live.newest import Newest
from quotes.live.single_flight import Readings
from quotes.server import http, protocol
from quotes.server.admission import Admission
from quotes.server.connection_limits import Crowd
from quotes.server.health import Health, open_health
from quotes.server.host_check import Gate
from quotes.server.lanes import open_lanes
from quotes.server.operations import Streams
from quotes.server.pages import NOT_BUILT, Explored, Site
from quotes.server.shortcut import Shortcut
from quotes.server.websocket import Sockets
from quotes.settings import FAILED, REFUSED, Settings, SettingsError

log = structlog.get_logger()

MAX_MESSAGE = 128 * 1024  # bytes of one message from a client
PING_INTERVAL = 20.0  # seconds; a client that does not answer within as many is gone
SHUTDOWN_TIMEOUT = 5  # seconds that open requests have to end
USER_TIMEOUT = 30_000  # ms that the kernel waits for a peer that acknowledges nothing


class Web(Starlette):
    """Starlette for HTTP; sockets and cached answers go past it, all behind the gate.

    Each layer of middleware would keep a frame of its own for as long as a socket is open, a
    quarter of all its memory, and take its time of each answer.
    """

    def __init__(
        self, gate: Callable[[ASGIApp], ASGIApp], sockets: ASGIApp, **starlette: Any
    ) -> None:
        super().__init__(**starlette)
        self._sockets = gate(sockets)
        self._http = gate(Shortcut(super().__call__, self.state))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            scope["app"] = self
            await self._sockets(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"] in http.PATHS:
            scope["app"] = self
            await http.enter(scope)
        await self._http(scope, receive, send)


def create_app(settings: Settings) -> Starlette:
    """The application; it opens its pool and its feed in its lifespan, and starts without them."""
    site = Site(tickers=settings.tickers)
    if not site.built:
        log.warning("page_not_built", how=NOT_BUILT.strip())
    graphql: Any = Explored(http.Endpoint(), site)
    sockets = Sockets(origins=settings.allowed_origins, most_operations=settings.max_operations)
    return Web(
        partial(Gate, host=settings.host, origins=settings.allowed_origins),
        sockets,
        routes=[
            *(Route(path, graphql) for path in http.PATHS),
            Route("/healthz", _answer(Health.alive)),
            Route("/readyz", _answer(Health.ready)),
            *site.routes(),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allowed_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["content-type", "if-none-match", "last-event-id"],
                expose_headers=["etag", "retry-after"],
                max_age=600,
            ),
        ],
        lifespan=_lifespan(settings),
    )


def _lifespan(settings: Settings) -> Callable[[Starlette], Any]:
    settings.require_database_url()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with (
            open_lanes(settings) as lanes,
            open_feed(lanes.live, lanes.listen, lanes.replays, settings.replay_connections) as (
                feed,
                task,
            ),
        ):
            ended = partial(_loop_ended, app)
            task.add_done_callback(ended)
            readings = Readings(feed)
            context = Context(
                settings,
                lanes.sessions,
                lanes.queries,
                lanes.replays,
                feed,
                readings,
                Newest(feed, lanes.replays, readings),
            )
            async with (
                open_streams(context, ended) as streams,
                open_health(Health(settings, lanes.health, streams, task), ended) as health,
            ):
                app.state.context = context
                app.state.streams = streams
                app.state.health = health
                log.info("api_ready", host=settings.host, port=settings.port)
                yield

    return lifespan


@asynccontextmanager
async def open_streams(
    context: Context, ended: Callable[[asyncio.Task[None]], None]
) -> AsyncIterator[Streams]:
    """`ended` is called with the fan-out's task when that ends."""
    settings = context.settings
    crowd = Crowd(most=settings.max_sockets, most_of_an_address=settings.max_sockets_per_address)
    candles = CandleStreams(context.replays, context.feed, context.readings)
    async with open_fan_out(context.feed) as (fan_out, task):
        task.add_done_callback(ended)
        admission = Admission(settings.query_connections, settings.query_wait)
        plans = Plans(context, Answers(context.feed, settings.answer_cache << 20))
        yield Streams(context, plans, Payloads(), fan_out, candles, crowd, admission, set())


def _loop_ended(app: Starlette, task: asyncio.Task[None]) -> None:
    """Without its loops a web process would be silent for ever: it ends, to be started again."""
    if task.cancelled():
        return
    error = task.exception()
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    known = isinstance(error, SettingsError)  # a sentence that says what to correct
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


class Server(uvicorn.Server):
    """uvicorn, which waits for answers under way to end; told first, streams of events end."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app

    @property
    def exit_status(self) -> int:
        """0 unless one of its loops has died."""
        return int(getattr(self._app.state, "exit_status", 0))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in tuple(self._app.state.streams.ended_by_shutdown):
            task.cancel()
        await super().shutdown(sockets)


def server(settings: Settings) -> Server:
    """uvicorn around the application; it listens on the sockets that it is run with."""
    app = create_app(settings)
    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            http=protocol.Http,
            ws=protocol.WebSocket,
            ws_max_size=MAX_MESSAGE,
            ws_ping_interval=PING_INTERVAL,
            ws_ping_timeout=PING_INTERVAL,
            ws_per_message_deflate=False,  # thrice a connection's memory, for tiny messages
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
            server_header=False,
            headers=[("X-Content-Type-Options", "nosniff")],
        ),
        app,
    )


def serve(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM, then exit with 0; with another status where a loop has died.

    Open sockets are closed with 1012, service restart. Raises SettingsError where the address
    cannot be listened on.
    """
    running = server(settings)
    # uvicorn raises the signal that ended it once more when it is done; for us that is the end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(running.exit_status))
    allow_many_files()
    collect_garbage_seldom()
    with listen(settings.host, settings.port) as listener:
        running.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Raises SettingsError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"Cannot listen on {host}:{port} ({reason}). Set QUOTES_PORT to a free port, "
            "or QUOTES_HOST to an address of this machine."
        ) from None
    if sys.platform == "linux":  # what is accepted here inherits it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
    return listener


def collect_garbage_seldom() -> None:
    """What an answer is made of dies by its reference counts; the collector finds next to nothing.

    Beside candle queries it took 28 % of the CPU, in pauses of up to 240 ms, mostly to look through
    the modules again and again. They are left out now, and so it takes 2 %.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def allow_many_files() -> None:
    """As many open files as the system lets this user have: a socket is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
