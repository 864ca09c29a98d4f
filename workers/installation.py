"""The state of a whole installation, as the scheduler shows it to Prometheus."""

from collections.abc import Iterator
from math import nan

import redis
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from quotes import metrics
from quotes.database.maintenance.totals import Totals
from quotes.queue import Queue

STATES = ("waiting", "running", "delayed", "dead")


def show(totals: Totals) -> None:
    """Of the scheduler that leads."""
    metrics.LEADS.set(1)
    metrics.DATABASE_BYTES.set(totals.database_bytes)
    metrics.CHARTS_LEFT.set(totals.unfinished_charts)


def forget() -> None:
    """In a scheduler that does not lead, or no longer."""
    metrics.LEADS.set(0)
    metrics.DATABASE_BYTES.set(nan)
    metrics.CHARTS_LEFT.set(nan)


class QueueCollector(Collector):
    """Reads the queue at each scrape."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("quotes_queue_up", "1 while the queue answers.")
        messages = GaugeMetricFamily(
            "quotes_queue_messages", "Messages by their state.", labels=["queue", "state"]
        )
        try:
            for length in self._queue.lengths():
                for state in STATES:
                    messages.add_metric([length.queue, state], getattr(length, state))
        except redis.RedisError:
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
        yield up
        yield messages
