"""uvicorn's server, ended in order."""

import asyncio
import socket
import time

import uvicorn
from starlette.applications import Starlette

from quotes.server.monitoring.metrics import WebCollector
from quotes.server.protocol.http import Http
from quotes.server.protocol.shared import Shared
from quotes.server.protocol.websocket import WebSocket
from quotes.settings import Settings

PING_INTERVAL = 20.0  # seconds; a client that does not answer within as many is gone
SHUTDOWN_TIMEOUT = 5  # seconds that open requests have to end, once nothing new is accepted
POLL = 0.1  # seconds between two looks at the end of the drain, as uvicorn's own loop


class Server(uvicorn.Server):
    """uvicorn, ended in order.

    First it is not ready, but serves for `drain` seconds, in which load balancers turn to others.
    Then it accepts nothing new, closes sockets with 1012, ends event streams, and waits for
    requests in progress.
    """

    def __init__(self, app: Starlette, settings: Settings) -> None:
        super().__init__(_config(app, settings))
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


def _config(app: Starlette, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http=Http,
        ws=WebSocket,
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
    )
