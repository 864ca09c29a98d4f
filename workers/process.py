"""What a worker process holds open: a connection pool and an HTTP session, on the worker's loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog
from dramatiq import Broker, MessageProxy, Middleware, Worker
from dramatiq.asyncio import get_event_loop_thread

from quotes import metrics
from quotes.database.collected import Collected, open_collected
from quotes.database.sessions import Sessions, open_engine
from quotes.market.sources import Source
from quotes.settings import Settings, SettingsError
from workers.collecting import Collector
from workers.constituents import publishing
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace
from workers.exchange.streamed import StreamedDeribit, open_streamed
from workers.heartbeat import beating
from workers.listing import Listing, open_listing

log = structlog.get_logger(__name__)


class Process(Middleware):
    """Opens it before the first message and closes it after the last. Goes after `AsyncIO()`."""

    source: Source
    sessions: Sessions
    collector: Collector
    collected: Collected

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.settings_error: SettingsError | None = None  # met by an actor; the worker ends
        self.loops_ended: list[str] = []  # by their names; the worker ends
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
            open_streamed(http, exchange, Deribit(http, exchange, Pace())) as streamed,
        ):
            self.source = streamed
            self.sessions = Sessions(engine)
            self.collector = Collector(self.source, self.sessions)
            self.collected = Collected(self.settings.selection, self.sessions)
            self.collected.changed = partial(self._changed, streamed)
            streamed.keep(self.collected.tickers)
            listing = Listing(self.source, self.sessions, self.collected)
            async with (
                open_collected(self.collected, self._loop_ended),
                open_listing(listing, self.collected, self._loop_ended),
                beating(self.sessions),
                publishing(self.sessions, streamed.rankings),
                metrics.measured_loop(),
            ):
                yield

    def _changed(self, source: StreamedDeribit, new: frozenset[str]) -> None:
        source.keep(self.collected.tickers)
        self.collector.resume(new)

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        """Without its loops a worker would never learn of another ticker: it ends."""
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, SettingsError):
            self.settings_error = error
            return
        log.critical("loop_ended", loop=task.get_name(), exc_info=error)
        self.loops_ended.append(task.get_name())
