"""The web process: uvicorn around the application, on a socket of its own."""

import asyncio
import gc
import resource
import signal
import socket
import sys
import time

import structlog
import uvicorn
from starlette.applications import Starlette

from quotes import metrics
from quotes.server import protocol
from quotes.server.app import create_app
from quotes.server.http.open_connections import Shared
from quotes.server.monitoring.metrics import WebCollector
from quotes.settings import Settings, SettingsError

log = structlog.get_logger()

PING_INTERVAL = 20.0  # seconds; a client that does not answer within as many is gone
SHUTDOWN_TIMEOUT = 5  # seconds that open requests have to end, once nothing new is accepted
POLL = 0.1  # seconds between two looks at the end of the drain, as uvicorn's own loop
USER_TIMEOUT = 30_000  # ms that the kernel waits for a peer that acknowledges nothing
OTHER_FILES = 256  # besides connections: databases, logs, libraries; and those being refused


class Server(uvicorn.Server):
    """uvicorn, ended in order.

    First it is not ready, but serves for `drain` seconds, in which load balancers turn to others.
    Then it accepts nothing new, closes sockets with 1012, ends event streams, and waits for
    requests in progress.
    """

    def __init__(self, config: uvicorn.Config, app: Starlette, settings: Settings) -> None:
        super().__init__(config)
        self.server_state: Shared = Shared(settings)
        self._app = app
        self._drain = settings.drain

    def collector(self) -> WebCollector:
        return WebCollector(self._app.state, self.server_state.open_connections)

    @property
    def exit_status(self) -> int:
        """0 unless one of its loops has died."""
        return int(getattr(self._app.state, "exit_status", 0))

    async def main_loop(self) -> None:
        await super().main_loop()
        self._app.state.health.draining = self.server_state.draining = True
        began = time.monotonic()
        # A process whose loop has died has nothing to offer; a second SIGINT means at once.
        while time.monotonic() < began + self._drain and not (self.exit_status or self.force_exit):
            await asyncio.sleep(POLL)
            await self.on_tick(0)  # the Date of answers

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
            access_log=False,
            http=protocol.Http,
            ws=protocol.WebSocket,
            ws_max_size=settings.max_body,
            ws_ping_interval=PING_INTERVAL,
            ws_ping_timeout=PING_INTERVAL,
            ws_per_message_deflate=False,  # would triple a connection's memory, for tiny messages
            timeout_keep_alive=settings.keep_alive,
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
            proxy_headers=bool(settings.trusted_proxies),  # else uvicorn trusts this host's
            forwarded_allow_ips=list(settings.trusted_proxies),
            server_header=False,
            headers=[("X-Content-Type-Options", "nosniff")],
        ),
        app,
        settings,
    )


def serve(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM, then exit with 0, or another status where a loop has died.

    Raises SettingsError where the address cannot be bound.
    """
    running = server(settings)
    # uvicorn raises the signal that ended it again when it is done: exit then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(running.exit_status))
    allow_many_files(settings)
    collect_garbage_seldom()
    with (
        listen(settings.host, settings.port) as listener,
        metrics.exposed(settings, metrics.Process.API, running.collector()),
    ):
        running.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Raises SettingsError where the address cannot be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"Cannot listen on {host}:{port} ({reason}). Set QUOTES_PORT to a free port, "
            "or QUOTES_HOST to an address of this machine."
        ) from None
    if sys.platform == "linux":  # accepted connections inherit it
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


def allow_many_files(settings: Settings) -> None:
    """Raise the limit of open files to the hard limit: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    needed = settings.max_connections + settings.max_sockets + OTHER_FILES
    if needed > most:
        log.warning(
            "open_files_limited",
            allowed=most,
            needed=needed,
            how="raise the limit (ulimit -Hn), or lower QUOTES_MAX_SOCKETS",
        )
