"""Each metric is documented and moves; each that an alert rule names is one of them."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from client import Client, connected
from paths import ROOT, in_tables
from processes import free_port, running, send_later, send_nonsense
from rows import cursor, insert, quote, wait
from scrape import Scrape

from quotes.database import backfills
from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.local import probe
from quotes.server.process import listen
from quotes.settings import Settings, SettingsError
from workers.demo.exchange import Exchange, Fault, serve

DOCUMENTED = in_tables((ROOT / "docs/metrics.md").read_text(), r"`((?:quotes|process)_\w+)`")
ALERTS = ROOT / "docs/prometheus/alerts.yml"
CACHED = '{ latestPrice(ticker: "old_usd") { price } }'
UPDATES = "subscription ($after: String) { priceUpdates(after: $after) { price } }"
# A scrape meets the first three by chance only; the fourth moves from a worker's second minute on.
SELDOM = {
    "quotes_lane_waiting",
    "quotes_queries_running",
    "quotes_exports_running",
    "quotes_exchange_streamed_prices_total",
    # These have tests of their own, in server/test_replica.
    "quotes_replica_lag_seconds",
    "quotes_replica_reads_total",
    "quotes_replica_usable",
}


def free_ports() -> int:
    """The first of four."""
    while True:
        first = free_port()
        try:
            for number in range(4):
                listen("127.0.0.1", first + number).close()
        except (SettingsError, OverflowError):
            continue
        return first


@asynccontextmanager
async def demo(settings: Settings) -> AsyncIterator[tuple[Settings, Client]]:
    """All processes, on an exchange that does not know one of the tickers, and streams another."""
    exchange = Exchange(clock=lambda: datetime.now(UTC) + timedelta(seconds=0.5), sockets=True)
    exchange.faults |= {"eth_usd": Fault.UNKNOWN_INDEX, "sol_usd": Fault.UNLISTED}
    port = free_ports()
    scarce = {"QUOTES_QUERY_CONNECTIONS": "2", "QUOTES_QUERY_WAIT": "0", "QUOTES_PORT": str(port)}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve(exchange))
        tickers = ("btc_usd", "eth_usd", "sol_usd")
        own = settings.model_copy(
            update={"deribit_url": url, "metrics_port": port + 1, "tickers": tickers}
        )
        await stack.enter_async_context(running("quotes", own, "api", **scarce))
        client = await stack.enter_async_context(connected(f"http://127.0.0.1:{port}"))
        # Before there is anything to deliver, which it then measures.
        await wait(lambda: probe.answers("127.0.0.1", port, "/readyz"), bool)
        await stack.enter_async_context(running("workers.worker", own))
        await stack.enter_async_context(running("workers.scheduler", own))
        yield own, client


async def scraped(http: aiohttp.ClientSession, first: int) -> Scrape:
    """All three, once they have started; nothing before."""
    texts = []
    for port in range(first, first + 3):
        try:
            async with http.get(f"http://127.0.0.1:{port}/metrics") as response:
                texts.append(await response.text())
        except aiohttp.ClientError:
            return Scrape()
    return Scrape(*texts)


async def moved(look: Callable[[], Awaitable[Scrape]]) -> Scrape:
    """A scrape in which everything has moved. Raises AssertionError where something does not."""
    try:
        return await wait(look, lambda found: has_all_origins(found) and found.still() <= SELDOM)
    except TimeoutError:
        raise AssertionError((await look()).still()) from None


def charts(number: int) -> str:
    """A query that no other is equal to."""
    fields = (
        f's{each}: series(ticker: "old_usd", points: {100 * number + each + 2}) {{ at }}'
        for each in range(8)
    )
    return f"{{ {' '.join(fields)} }}"


def has_all_origins(found: Scrape) -> bool:
    return all(found("quotes_stored_total", origin=origin) for origin in Origin)


async def test_in_a_demo_with_faults_each_documented_metric_moves(
    settings: Settings, sessions: Sessions
) -> None:
    now = datetime.now(UTC)
    await insert(sessions, *(quote("old_usd", at=number) for number in range(100)))
    async with sessions.begin() as session:  # so that minutes are missing
        await backfills.add(session, settings.tickers, now=now - timedelta(minutes=10))
    async with demo(settings) as (own, client):

        async def look() -> Scrape:
            await client.answer(CACHED)
            return await scraped(client.http, own.metrics_port or 0)

        send_later(own, now)
        send_nonsense(own)
        begin = cursor(1, quote("old_usd"))
        async with client.subscription(UPDATES, after=begin) as subscription:
            # Each of many statements, so that the next one finds no place.
            await asyncio.gather(*(client.answer(charts(number)) for number in range(40)))
            async with client.http.get(f"{client.url}/graphql?query={'x' * 20_000}") as response:
                assert response.status == 414
            async with client.http.get(f"{client.url}/export/old_usd/2026-01.csv") as response:
                assert response.status == 200
            for _ in range(99):
                await subscription.next()
            found = await moved(look)

    assert found.names == DOCUMENTED
    assert found("quotes_build_info", process="api") == 1
    assert found("quotes_failures_total", cause="UNKNOWN_INDEX") >= 1
    assert found("quotes_refused_total") >= 1
    for outcome in ("OK", "UNKNOWN_INDEX"):
        assert found("quotes_exchange_requests_total", kind="price", outcome=outcome) >= 1
    assert found("quotes_replay_pages_total", source="tail") >= 1
    assert found("quotes_queue_messages", state="dead") == 1


def test_the_alert_rules_name_documented_metrics_alone() -> None:
    named = {
        re.sub("_(bucket|sum|count)$", "", name)
        for name in re.findall(r"\bquotes_\w+", ALERTS.read_text())
    }

    assert len(named) > 10
    assert named <= DOCUMENTED


def test_the_alert_rules_say_what_is_wrong_and_nothing_where_all_is_well() -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed")
    config, tests = ALERTS.with_name("prometheus.yml"), ROOT / "tests/alerts.yml"

    for check in (["check", "config", str(config)], ["test", "rules", str(tests)]):
        done = subprocess.run([promtool, *check], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
