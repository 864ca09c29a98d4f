"""What the processes measure, and the port on which Prometheus reads it; docs/metrics.md has all.

Counters and histograms are defined here, and updated where something happens. What has a state of
its own is read at each scrape, by the collectors that a process adds.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from importlib.metadata import version
from socketserver import TCPServer
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    make_wsgi_app,
)
from prometheus_client.core import InfoMetricFamily
from prometheus_client.registry import Collector

from quotes.background import background
from quotes.settings import Settings, SettingsError

REQUEST_TIMEOUT = 2.0  # seconds to wait for each part of a request
DELAY_SAMPLE = 0.25  # seconds between two measurements of the event loop's delay

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LONG = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 45, 60)
_COUNTS = (0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"quotes_{name}", text, labels, buckets=buckets, registry=None)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"quotes_{name}", text, labels, registry=None)


def _gauge(name: str, text: str) -> Gauge:
    return Gauge(f"quotes_{name}", text, registry=None)


LOOP_DELAY = _histogram("loop_delay_seconds", "How late the event loop runs a timer.", _SHORT)

# Of web processes.
FEED_LAG = _histogram("feed_lag_seconds", "From a commit to its being read by the feed.", _SHORT)
DELIVERY = _histogram(
    "delivery_seconds",
    "From a live price, by the exchange's clock, to its being written to all live subscribers.",
    _LONG,
)
FAN_OUT = _histogram("fan_out_seconds", "To write a commit to all live subscribers.", _SHORT)
MESSAGES = _histogram("fan_out_messages", "Messages written for a commit.", _COUNTS)
QUERIES = _histogram(
    "query_seconds", "To answer a query that is not in the cache.", _SHORT, "field", "code"
)
LANE_WAITS = _histogram("lane_wait_seconds", "Waiting for a turn in a lane.", _SHORT, "lane")
REPLAY_PAGES = _counter("replay_pages", "Pages of the log that were replayed.", "source")
REPLICA_READS = _counter("replica_reads", "What a replica could be read for.", "server")

# Of workers.
COLLECTION = _histogram("collection_seconds", "To collect all tickers of a minute.", _LONG)
FAILURES = _counter("failures", "Tickers without a quote for a minute.", "cause")
STORED = _counter("stored", "New quotes.", "origin")
EXCHANGE_REQUESTS = _counter("exchange_requests", "Requests.", "kind", "outcome")
STREAMED_PRICES = _counter("exchange_streamed_prices", "Prices that the WebSocket brought.")
EXCHANGE_ANSWERS = _histogram("exchange_answer_seconds", "To an answer of the exchange.", _SHORT)
CLOCK_AHEAD = _gauge("exchange_clock_ahead_seconds", "The exchange's clock less this host's.")

# Of the scheduler that leads; NaN in one that waits.
LEADS = _gauge("scheduler_leads", "1 in the scheduler that leads, 0 in one that waits.")
DATABASE_BYTES = _gauge("database_bytes", "The size of the database.")
CHARTS_LEFT = _gauge("backfill_charts_left", "Charts of the past that are yet to be fetched.")


class Process(StrEnum):
    """Each kind has a port of its own: the first QUOTES_METRICS_PORT, the next one more."""

    API = "api"
    WORKER = "worker"
    SCHEDULER = "scheduler"

    def port(self, first: int) -> int:
        return first + [*Process].index(self)


_OF_PROCESS: dict[Process, tuple[Collector, ...]] = {
    Process.API: (
        FEED_LAG,
        DELIVERY,
        FAN_OUT,
        MESSAGES,
        QUERIES,
        LANE_WAITS,
        REPLAY_PAGES,
        REPLICA_READS,
    ),
    Process.WORKER: (
        COLLECTION,
        FAILURES,
        STORED,
        EXCHANGE_REQUESTS,
        STREAMED_PRICES,
        EXCHANGE_ANSWERS,
        CLOCK_AHEAD,
    ),
    Process.SCHEDULER: (LEADS, DATABASE_BYTES, CHARTS_LEFT),
}


class _Build(Collector):
    def __init__(self, process: Process) -> None:
        self._process = process

    def collect(self) -> Iterator[InfoMetricFamily]:
        labels = {"version": version("quotes"), "process": self._process.value}
        yield InfoMetricFamily("quotes_build", "The release and the kind of process.", labels)


def registry(process: Process, *collectors: Collector) -> CollectorRegistry:
    """All that a process of this kind has to show; `collectors` read its state."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each of the others
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    for each in (_Build(process), LOOP_DELAY, *_OF_PROCESS[process], *collectors):
        found.register(each)
    return found


@contextmanager
def exposed(settings: Settings, process: Process, *collectors: Collector) -> Iterator[None]:
    """Serve them to Prometheus meanwhile, from a thread, if QUOTES_METRICS_PORT is set.

    Raises SettingsError where the address cannot be bound.
    """
    if settings.metrics_port is None:
        yield
        return
    with _bound(settings.metrics_host, process.port(settings.metrics_port)) as server:
        server.set_app(make_wsgi_app(registry(process, *collectors)))
        thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            # It may be in the middle of a request, which whoever sends it can draw out.
            Thread(target=server.shutdown, daemon=True).start()
            thread.join(2 * REQUEST_TIMEOUT)


def _bound(host: str, port: int) -> "_Server":
    try:
        return (_Server6 if ":" in host else _Server)((host, port), _Request)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"Cannot serve metrics on {host}:{port} ({reason}). Each kind of process has a port, "
            "from QUOTES_METRICS_PORT on: set it to another one, as for each further process of a "
            "kind on one host, or QUOTES_METRICS_HOST to an address of this machine."
        ) from None


class _Server(WSGIServer):
    """One request at a time: a thread is all that it ever takes."""

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would look up a name, which may take long
        self.server_name, self.server_port = "", 0  # CGI's variables, which nothing reads
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Request(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT

    def handle(self) -> None:
        with suppress(OSError):  # whoever asked was too slow, or has gone
            super().handle()

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002  # as overridden


@asynccontextmanager
async def measured_loop() -> AsyncIterator[None]:
    """Measure the delay of the running event loop meanwhile."""
    async with background(_measure_loop(), "loop-delay"):
        yield


async def _measure_loop() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + DELAY_SAMPLE
        await asyncio.sleep(DELAY_SAMPLE)
        LOOP_DELAY.observe(max(0.0, loop.time() - due))
