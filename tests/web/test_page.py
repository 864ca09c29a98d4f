"""The live page and the explorer as people meet them: in a real browser, on a real service."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from browser import AXE, browsing, faults_of, looking, needs_browser
from client import serving
from playwright.async_api import Browser, Page, WebSocketRoute, expect
from processes import Api
from rows import keep, wait

from quotes.database import store
from quotes.database.models import Origin, Quote
from quotes.local import probe
from quotes.settings import Settings
from workers import collecting
from workers.demo import Exchange, Fault, serve
from workers.deribit import Deribit, open_http
from workers.pacing import Pace

pytestmark = needs_browser

BOTH = ["btc_usd", "eth_usd"]
RUN = 'button[aria-label^="Execute query"]'
STEP = timedelta(minutes=1)


class Market:
    """The stand-in exchange and the collecting of its prices, one minute of the past at a time."""

    def __init__(self, exchange: Exchange, source: Deribit, sessions: store.Sessions) -> None:
        self.exchange = exchange
        self._source = source
        self._sessions = sessions
        self.this_minute = datetime.now(UTC).replace(second=0, microsecond=0)
        exchange.clock = lambda: self._at + timedelta(seconds=1)

    async def collect(self, minutes_ago: int, *, btc: str, eth: str = "3000.5") -> None:
        self.exchange.prices |= {"btc_usd": btc, "eth_usd": eth}
        self._at = self.this_minute - minutes_ago * STEP
        await collecting.collect(self._at, BOTH, self._source, self._sessions)


@pytest.fixture
async def market(sessions: store.Sessions) -> AsyncIterator[Market]:
    exchange = Exchange()
    async with serve(exchange) as url, open_http(url) as http:
        yield Market(exchange, Deribit(http, url, Pace(rate=1_000)), sessions)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as browser:
        yield browser


@asynccontextmanager
async def api(settings: Settings, port: int) -> AsyncIterator[None]:
    """`quotes api` as a process of its own, from when it answers until it is told to end."""
    process = Api(settings, port)
    await process.start()
    try:
        await wait(lambda: probe.answers("127.0.0.1", port, "/healthz"), bool)
        yield
    finally:
        await process.end(signal.SIGTERM)


async def rows_of(page: Page) -> list[list[str]]:
    """The candles' table, newest first: time, open, high, low, close, minutes, note."""
    rows: list[list[str]] = await page.eval_on_selector_all(
        "#rows tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return rows


def shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")


def card(page: Page, ticker: str) -> Any:
    return page.locator(f'#cards a[href="/{ticker}"]')


async def test_a_price_is_on_the_screen_though_no_stream_can_be_opened(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(1, btc="81110.428333")

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.route_web_socket(re.compile("/graphql"), hold)
        await page.goto("/")

        await expect(card(page, "btc_usd").locator(".price")).to_have_text("81,110.428333")
        await expect(page.locator("#connection")).to_have_text("Connecting…")
        await expect(page.locator("#source")).to_have_text("Demo: made-up prices")
        assert watch.complaints == []


async def hold(socket: WebSocketRoute) -> None:
    """The page's socket is never answered."""


async def test_a_new_quote_appears_without_a_reload(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(1, btc="80000.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/")
        await expect(page.locator("#connection")).to_have_text("Live")
        await expect(card(page, "btc_usd").locator(".price")).to_have_text("80,000.5")

        await market.collect(0, btc="81234.56")

        await expect(card(page, "btc_usd").locator(".price")).to_have_text("81,234.56")
        await expect(card(page, "btc_usd").locator(".freshness")).to_have_text(re.compile("^live"))
        assert watch.complaints == []


async def test_a_restart_of_the_api_is_told_and_leaves_no_hole_in_the_candles(
    browser: Browser, settings: Settings, market: Market, free_tcp_port: int
) -> None:
    prices = {minutes: f"{80_000 + minutes}.25" for minutes in range(9, -1, -1)}
    before, during = [9, 8, 7, 6, 5], [4, 3, 2, 1]
    for minutes in before:
        await market.collect(minutes, btc=prices[minutes])

    async with looking(browser, f"http://127.0.0.1:{free_tcp_port}") as (page, _):
        async with api(settings, free_tcp_port):
            await page.goto("/btc_usd?interval=1m")
            await page.locator("summary").click()
            await expect(page.locator("#connection")).to_have_text("Live")
            await expect(page.locator("#rows")).to_contain_text("80,005.25")
            await page.evaluate("window.neverReloaded = true")
        await expect(page.locator("#connection")).to_contain_text("Connection lost")
        for minutes in during:
            await market.collect(minutes, btc=prices[minutes])

        async with api(settings, free_tcp_port):
            await expect(page.locator("#connection")).to_have_text("Live")
            await market.collect(0, btc=prices[0])
            await expect(page.locator("#rows")).to_contain_text("80,000.25")

            rows = await rows_of(page)

            kept = [
                [shown(market.this_minute - minutes * STEP), *[f"80,00{minutes}.25"] * 4, "1"]
                for minutes in sorted(prices)
            ]
            assert [row[:6] for row in rows if row[5] != "0"] == kept
            assert await page.evaluate("window.neverReloaded")


async def test_a_stale_ticker_is_shown_stale_with_its_cause_beside_a_live_one(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(10, btc="80000.5")
    market.exchange.faults["btc_usd"] = Fault.MAINTENANCE
    await market.collect(0, btc="80000.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/btc_usd")

        stale = card(page, "btc_usd").locator(".freshness")
        await expect(stale).to_have_text(re.compile(r"stale, 1\d min old.*maintenance"))
        await expect(page.locator("#age")).to_have_text(re.compile("^stale"))
        await expect(card(page, "eth_usd").locator(".freshness")).to_have_text(re.compile("^live"))
        assert watch.complaints == []


async def test_gaps_stay_gaps_and_what_was_filled_in_says_so(
    browser: Browser, settings: Settings, sessions: store.Sessions, market: Market
) -> None:
    await market.collect(4, btc="80000.5")
    await keep(sessions, repaired(market.this_minute - 2 * STEP))
    await market.collect(0, btc="80000.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        await page.goto("/btc_usd?interval=1m")
        await page.locator("summary").click()
        await expect(page.locator("#rows tr").nth(4)).to_be_visible()

        notes = [row[6] for row in await rows_of(page)]

    assert notes[1:5] == [
        "no price (NOT_ASKED)",
        "1 min filled in afterwards",
        "no price (NOT_ASKED)",
        "",
    ]


def repaired(minute: datetime) -> Quote:
    return Quote(
        ticker="btc_usd",
        minute=minute,
        price=Decimal("79999.5"),
        observed_at=minute,
        source="demo",
        origin=Origin.REPAIRED,
    )


async def test_a_ticker_that_is_not_here_is_told_as_one_and_an_empty_one_as_empty(
    browser: Browser, settings: Settings
) -> None:
    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/nosuch_usd")
        await expect(page.locator("#told")).to_contain_text("There is no ticker nosuch_usd here")

        await card(page, "btc_usd").click()
        await expect(page.locator("#told")).to_contain_text("No prices in this range yet")
        await expect(page.locator("#age")).to_contain_text("no price yet")

        await page.goto("/btc_usd?interval=7x")
        await expect(page.locator("#told")).to_contain_text("7x")
        assert watch.complaints == []


async def test_a_link_opens_the_very_interval_and_range_and_keys_read_its_candles(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(0, btc="80000.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/BTC?interval=1h&range=1mo")
        await expect(page).to_have_url(f"{client.url}/btc_usd?interval=1h&range=1mo")
        await expect(page.locator("input[name=interval]:checked")).to_have_value("1h")
        await expect(page.locator("#legend")).to_contain_text("80,000.5")

        await page.locator("#chart").press("ArrowLeft")

        await expect(page.locator("#spoken")).to_contain_text("C 80,000.5")
        await page.locator("input[name=interval]:checked").press("ArrowLeft")
        await expect(page).to_have_url(f"{client.url}/btc_usd?interval=15m&range=1w")
        await expect(page.locator("input[name=interval]:checked")).to_be_focused()
        assert watch.complaints == []


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_serious_fault_and_nothing_hangs_over_a_phone_s_edge(
    browser: Browser, settings: Settings, market: Market, scheme: str
) -> None:
    await market.collect(1, btc="80000.5")
    phone = {"width": 390, "height": 844}

    async with (
        serving(settings) as client,
        looking(browser, client.url, color_scheme=scheme, viewport=phone) as (page, watch),
    ):
        for path, last in (
            ("/", "#cards .change"),
            ("/btc_usd", "#legend"),
            ("/nosuch_usd", "#told"),
        ):
            await page.goto(path)
            await expect(page.locator("#connection")).to_have_text("Live")
            await expect(page.locator(last).first).not_to_be_empty()

            assert await faults_of(page) == []
            assert await page.evaluate("document.body.scrollWidth <= innerWidth")
        assert watch.complaints == []


async def run(page: Page, answer: str, complaints: list[str]) -> None:
    """GraphiQL knows a tab's operation only a moment after its editor shows it, and nothing tells
    when: run it until it is answered."""
    async with asyncio.timeout(30):
        while True:
            await page.locator(RUN).click()
            with suppress(AssertionError):
                await expect(page.locator(".graphiql-response .view-lines")).to_contain_text(
                    answer, timeout=3_000
                )
                return
            complaints[:] = [each for each in complaints if "400 (Bad Request)" not in each]


async def test_the_explorer_runs_a_query_and_a_live_subscription_with_nothing_from_elsewhere(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(1, btc="80000.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/graphql")
        answer = page.locator(".graphiql-response .view-lines")
        await expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text("Latest")
        await run(page, "80000.5", watch.complaints)

        await page.get_by_role("tab", name="Live").click()
        await expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text("Live")
        await expect(page).to_have_url(re.compile("subscription\\+Live"))
        await run(page, "3000.5", watch.complaints)
        await market.collect(0, btc="81234.56", eth="3111.25")
        await expect(answer).to_contain_text(re.compile("81234.56|3111.25"))

        assert watch.complaints == []


async def test_the_query_behind_the_screen_opens_in_the_explorer_and_answers_the_same(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(5 * 60, btc="80000.5")  # of the range's first candle

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/btc_usd?interval=1h&range=6h")
        await expect(page.locator("#legend")).to_contain_text("80,000.5")
        sent = [url for url in watch.asked if "explorer" in url]
        await page.locator("#query").click()

        asked = parse_qs(urlsplit(page.url).query)
        await expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text("Candles")
        await run(page, "80000.5", watch.complaints)

        assert json.loads(asked["variables"][0])["interval"] == "1h"
        assert sent == []
        assert any("explorer" in url for url in watch.asked)
