"""The state of a web process, read at each scrape, from Prometheus' thread."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.datastructures import State

from quotes.live.feed import Feed
from quotes.live.replica import Replica
from quotes.server.limits.export_limits import ExportLimits
from quotes.server.limits.open_connections import OpenConnections
from quotes.server.monitoring.health import Health
from quotes.server.operations import Streams


class WebCollector(Collector):
    """`state` is the application's; there is nothing to show of it before it has started."""

    def __init__(self, state: State, connections: OpenConnections) -> None:
        self._state = state
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        yield from _of_connections(self._connections)
        health: Health | None = getattr(self._state, "health", None)
        if health is not None:
            yield from _of_streams(self._state.streams)
            yield from _of_exports(self._state.exports.limits)
            yield from _of_feed(self._state.context.feed)
            yield from _of_replica(self._state.context.replica)
            yield from _of_health(health)


def _of_connections(connections: OpenConnections) -> Iterator[Metric]:
    yield _gauge("http_connections", "Open connections, other than those.", connections.open)
    yield _labelled(
        CounterMetricFamily(
            "quotes_http_refused", "What was refused at a limit.", labels=["status"]
        ),
        {str(status): number for status, number in dict(connections.refused).items()},
    )


def _of_streams(streams: Streams) -> Iterator[Metric]:
    limits, admission, answers = streams.connection_limits, streams.admission, streams.plans.answers
    yield _gauge("connections", "Open WebSockets and event streams.", limits.connections)
    yield _gauge("subscriptions", "Subscriptions on them.", limits.subscriptions)
    yield _gauge("subscribers_live", "Of priceUpdates, caught up.", streams.fan_out.live)
    yield _gauge("queries_running", "Queries that are being answered.", admission.running)
    yield _counter("queries_admitted", "Queries that began.", admission.admitted_total)
    yield _counter("refused", "Requests refused as OVERLOADED.", admission.refused_total)
    yield _labelled(
        GaugeMetricFamily("quotes_lane_waiting", "Who waits for a turn.", labels=["lane"]),
        {"queries": admission.waiting, "replays": streams.context.feed.replays.waiting},
    )
    yield _labelled(
        CounterMetricFamily(
            "quotes_cached_answers", "Answers given from the cache.", labels=["field"]
        ),
        answers.uses(),
    )
    yield _gauge("answer_cache_bytes", "The size of the cache of answers.", answers.size)


def _of_exports(limits: ExportLimits) -> Iterator[Metric]:
    yield _gauge("exports_running", "Exports that are being sent.", limits.running)
    yield _labelled(
        CounterMetricFamily("quotes_exports", "Exports.", labels=["outcome"]),
        {"begun": limits.begun_total, "refused": limits.refused_total},
    )


def _of_feed(feed: Feed) -> Iterator[Metric]:
    yield _gauge("feed_listening", "1 while notifications of commits arrive.", feed.listening)
    age = GaugeMetricFamily("quotes_feed_read_age_seconds", "Since the log was read to its end.")
    if feed.read_at is not None:
        age.add_metric([], (datetime.now(UTC) - feed.read_at).total_seconds())
    yield age


def _of_replica(replica: Replica | None) -> Iterator[Metric]:
    usable = GaugeMetricFamily("quotes_replica_usable", "1 while the replica has all quotes.")
    lag = GaugeMetricFamily("quotes_replica_lag_seconds", "Since it has lacked some; 0 if none.")
    if replica is not None:
        usable.add_metric([], replica.usable)
        lag.add_metric([], replica.lag)
    yield usable
    yield lag


def _of_health(health: Health) -> Iterator[Metric]:
    yield _gauge("ready", "1 while /readyz is 200.", health.ready()["ok"])
    known = health.fresh()
    fresh = {name: state["fresh"] for name, state in known.get("tickers", {}).items()}
    yield _labelled(
        GaugeMetricFamily("quotes_ticker_fresh", "1 while a price is fresh.", labels=["ticker"]),
        fresh,
    )
    yield _labelled(
        GaugeMetricFamily(
            "quotes_ticker_age_seconds", "The age of the newest price.", labels=["ticker"]
        ),
        _values(known.get("tickers", {}), "ageSeconds"),
    )
    yield _labelled(
        GaugeMetricFamily(
            "quotes_heartbeat_age_seconds", "Since the last sign of life.", labels=["part"]
        ),
        _values(known.get("parts", {}), "seenSecondsAgo"),
    )


def _values(states: Mapping[str, Mapping[str, float]], name: str) -> dict[str, float]:
    return {key: state[name] for key, state in states.items() if name in state}


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"quotes_{name}", text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"quotes_{name}", text, value)


def _labelled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float]
) -> Metric:
    for label, value in values.items():
        family.add_metric([label], value)
    return family
