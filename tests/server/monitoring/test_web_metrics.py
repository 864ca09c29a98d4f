"""What Prometheus reads of a web process, and where."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from client import Client, serving
from processes import free_port
from prometheus_client import generate_latest
from rows import NOON, insert, quote, wait
from scrape import Scrape

from quotes import metrics
from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.metrics import Process
from quotes.settings import Settings, SettingsError

PRICES = "subscription { priceUpdates { price } }"


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    await insert(sessions, quote(at=0))
    async with serving(settings) as client:
        yield client


def scraped(client: Client) -> Scrape:
    registry = metrics.registry(Process.API, client.server.collector())
    return Scrape(generate_latest(registry).decode())


async def test_queries_are_counted_by_root_field_and_code(client: Client) -> None:
    before = scraped(client)
    await client.data(
        '{ latestPrice(ticker: "BTC") { at } b: latestPrice(ticker: "BTC") { seq: at }'
        " tickers { name } }"
    )
    await client.refusal('{ latestPrice(ticker: "NOPE") { price } }')
    await client.refusal("{ nope }")
    await client.data("query Q { ...Q } fragment Q on Query { __schema { queryType { name } } }")
    async with client.subscription("{ tickers { name } }") as subscription:
        await subscription.message()
    half = '{ priceAt(ticker: "NOPE", at: "2026-01-31T12:00:00Z") { price } tickers { name } }'
    for other in ('{ gaps(ticker: "NOPE") { from } }', "{ unparsable", "{ nope }", half):
        async with client.subscription(other) as subscription:
            await subscription.message()
    after = scraped(client)

    def moved(name: str, **labels: str) -> float:
        return after(f"quotes_{name}", **labels) - before(f"quotes_{name}", **labels)

    assert moved("query_seconds_count", field="latestPrice", code="OK") == 1
    assert moved("query_seconds_count", field="latestPrice", code="UNKNOWN_TICKER") == 1
    assert moved("query_seconds_count", field="tickers", code="OK") == 2
    assert moved("query_seconds_count", field="tickers", code="UNKNOWN_TICKER") == 1
    assert moved("query_seconds_count", field="gaps", code="UNKNOWN_TICKER") == 1
    assert moved("query_seconds_count", field="priceAt", code="UNKNOWN_TICKER") == 1
    assert moved("query_seconds_count", field="invalid", code="BAD_INPUT") == 3
    assert moved("query_seconds_count", field="introspection", code="OK") == 1
    assert moved("query_seconds_count") == 11
    assert moved("queries_admitted_total") == moved("lane_wait_seconds_count", lane="queries") == 8


@pytest.mark.parametrize("way", [{}, {"Content-Encoding": "identity"}], ids=["short", "long"])
async def test_each_answer_is_counted_once_be_it_from_the_cache_or_not(
    client: Client, way: dict[str, str]
) -> None:
    before, sent = scraped(client), 0

    async def moved(name: str) -> float:
        labels = {"field": "latestPrice"}
        return scraped(client)(name, **labels) - before(name, **labels)

    async def cached() -> float:
        nonlocal sent
        sent += 1
        body = {"query": '{ latestPrice(ticker: "BTC") { price } }'}
        async with client.http.post(f"{client.url}/graphql", json=body, headers=way) as response:
            assert response.status == 200
        return await moved("quotes_cached_answers_total")

    found = await wait(cached, lambda found: found >= 2)

    assert found + await moved("quotes_query_seconds_count") == sent


async def test_a_commit_is_measured_on_its_way_to_its_subscribers(
    client: Client, sessions: Sessions
) -> None:
    now = (datetime.now(UTC) - NOON) // timedelta(minutes=1)
    async with client.subscription(PRICES) as one, client.subscription(PRICES) as other:
        for each in (one, other):
            await each.next()
        live = await wait(
            lambda: asyncio.sleep(0, scraped(client)),
            lambda found: found("quotes_subscribers_live") == 2,
        )
        await insert(sessions, quote(at=now), quote(at=now - 1, origin=Origin.REPAIRED))
        for each in (one, one, other, other):
            await each.next()
        after = scraped(client)

    def moved(name: str, **labels: str) -> float:
        return after(f"quotes_{name}", **labels) - live(f"quotes_{name}", **labels)

    assert (live("quotes_subscriptions"), live("quotes_connections")) == (2, 2)
    assert moved("feed_lag_seconds_count") == moved("fan_out_seconds_count") == 1
    assert moved("fan_out_messages_sum") == 4
    assert moved("delivery_seconds_count") == 1  # a repaired price is old
    assert 0 <= moved("delivery_seconds_sum") < 120
    assert 0 <= moved("feed_lag_seconds_sum") < 20


async def test_the_age_and_freshness_of_each_configured_ticker_are_shown(client: Client) -> None:
    await wait(
        lambda: asyncio.sleep(0, scraped(client)),
        lambda found: found("quotes_ticker_age_seconds", ticker="btc_usd") > 86_400,
    )
    found = scraped(client)

    assert "quotes_ticker_fresh" in found.names
    assert found("quotes_ticker_fresh") == found("quotes_ticker_age_seconds", ticker="eth_usd") == 0
    assert found("quotes_ready") == 1


async def test_it_is_served_on_the_port_of_the_process_and_on_loopback_alone(
    settings: Settings,
) -> None:
    own = settings.model_copy(update={"metrics_port": free_port() - 1})
    with metrics.exposed(own, Process.WORKER):
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{(own.metrics_port or 0) + 1}/metrics"
            async with http.get(url) as response:
                text = await response.text()
            with pytest.raises(aiohttp.ClientConnectorError):  # not on all addresses
                await http.get(url.replace("127.0.0.1", "127.0.0.2"))
        with (
            pytest.raises(SettingsError, match="QUOTES_METRICS_PORT"),
            metrics.exposed(own, Process.WORKER),
        ):
            pass

    assert 'quotes_build_info{process="worker",version=' in text
    assert Settings().metrics_port is None
    assert Settings().metrics_host == "127.0.0.1"


async def test_whoever_connects_and_sends_nothing_keeps_nobody_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics._Request, "timeout", 0.1)
    port = free_port()
    own = settings.model_copy(update={"metrics_port": port})
    with metrics.exposed(own, Process.API):
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        async with (
            asyncio.timeout(20),
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{port}/metrics") as response,
        ):
            assert response.status == 200
        silent.close()
        await silent.wait_closed()
