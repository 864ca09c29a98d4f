"""What a worker process holds open: a connection pool and an HTTP session, on the worker's loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from dramatiq import Broker, MessageProxy, Middleware, Worker
from dramatiq.asyncio import get_event_loop_thread

from quotes import metrics
from quotes.database.sessions import Sessions, open_engine
from quotes.market.sources import Source
from quotes.settings import Settings, SettingsError
from workers.collecting import Collector
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace
from workers.exchange.streamed import open_streamed
from workers.heartbeat import beating


class Process(Middleware):
    """Opens it before the first message and closes it after the last. Goes after `AsyncIO()`."""

    source: Source
    sessions: Sessions
    collector: Collector

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.settings_error: SettingsError | None = None  # met by an actor; the worker ends
        self.filling_gaps = asyncio.Lock()  # one run of `fill_gaps` at a time
        self._open = AsyncExitStack()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        loop = get_event_loop_thread()
        assert loop is not None
        loop.run_coroutine(self._open.enter_async_context(self._lifespan()))

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        if isinstance(exception, SettingsError):
            self.settings_error = exception

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        loop = get_event_loop_thread()
        assert loop is not None
        loop.loop.call_soon_threadsafe(self.collector.stop)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        loop = get_event_loop_thread()
        assert loop is not None
        loop.run_coroutine(self._open.aclose())

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        url, exchange = self.settings.require_database_url(), self.settings.deribit_url
        async with (
            open_engine(url, name="worker") as engine,
            open_http(exchange) as http,
            open_streamed(http, exchange, Deribit(http, exchange, Pace())) as self.source,
        ):
            self.sessions = Sessions(engine)
            self.collector = Collector(self.source, self.sessions)
            async with beating(self.sessions), metrics.measured_loop():
                yield
