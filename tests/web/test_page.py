"""The live page as people meet it: in a real browser, on a real service."""

import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import pytest
from browser import AXE, card, faults_of, is_too_wide, looking, needs_browser, rows_of
from client import serving
from collected import STEP, Market
from playwright.async_api import Browser, WebSocketRoute, expect
from prices import priced
from processes import Api
from rows import insert, wait

from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.local import probe
from quotes.settings import Settings
from workers.demo.exchange import Fault

pytestmark = needs_browser


@asynccontextmanager
async def api(settings: Settings, port: int) -> AsyncIterator[None]:
    """`quotes api` as a process of its own, from when it answers until it is ended."""
    process = Api(settings, port)
    await process.start()
    try:
        await wait(lambda: probe.answers("127.0.0.1", port, "/healthz"), bool)
        yield
    finally:
        await process.end(signal.SIGTERM)


def shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")


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
        await expect(card(page, "btc_usd").locator(".price")).to_have_text("80,000.50")

        await market.collect(0, btc="81234.56")

        await expect(card(page, "btc_usd").locator(".price")).to_have_text("81,234.56")
        await expect(card(page, "btc_usd").locator(".freshness")).to_have_text(re.compile("^live"))
        assert watch.complaints == []


async def test_a_restart_of_the_api_is_shown_and_leaves_no_gap_in_the_candles(
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
            for minutes in (*during, 0):
                await expect(page.locator("#rows")).to_contain_text(f"80,00{minutes}.25")

            rows = await rows_of(page)

            stored = [
                [shown(market.this_minute - minutes * STEP), *[f"80,00{minutes}.25"] * 4, "1"]
                for minutes in sorted(prices)
            ]
            assert [row[:6] for row in rows if row[5] != "0"] == stored
            assert await page.evaluate("window.neverReloaded")


async def test_a_stale_ticker_is_shown_stale_with_its_cause_beside_a_live_one(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    await market.collect(10, btc="80000.5")
    market.exchange.faults["btc_usd"] = Fault.MAINTENANCE
    await market.collect(0, btc="80000.5")
    # A ticker under maintenance is asked for until its minute ends: the other goes on meanwhile.
    await insert(sessions, priced("eth_usd", market.this_minute + 2 * STEP, "3000.5"))

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/btc_usd")

        stale = card(page, "btc_usd").locator(".freshness")
        await expect(stale).to_have_text(re.compile(r"stale, 1\d min old.*maintenance"))
        await expect(page.locator("#age")).to_have_text(re.compile("^stale"))
        await expect(card(page, "eth_usd").locator(".freshness")).to_have_text(re.compile("^live"))
        assert watch.complaints == []


async def test_gaps_stay_gaps_and_what_was_filled_in_is_marked(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    await market.collect(4, btc="80000.5")
    await insert(
        sessions, priced("btc_usd", market.this_minute - 2 * STEP, "79999.5", Origin.REPAIRED)
    )
    await market.collect(0, btc="80000.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        await page.goto("/btc_usd?interval=1m")
        await page.locator("summary").click()
        await expect(page.locator("#rows tr").nth(4)).to_be_visible()

        notes = [row[6] for row in await rows_of(page)]

    assert notes[1:5] == [
        "no price: it was not collected",
        "1 min filled in afterwards",
        "no price: it was not collected",
        "",
    ]


async def test_an_unknown_ticker_is_shown_as_unknown_and_an_empty_one_as_empty(
    browser: Browser, settings: Settings
) -> None:
    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/nosuch_usd")
        await expect(page.locator("#message")).to_contain_text("There is no ticker nosuch_usd here")

        await card(page, "btc_usd").click()
        await expect(page.locator("#message")).to_contain_text("No prices in this range yet")
        await expect(page.locator("#age")).to_contain_text("no price yet")

        assert watch.complaints == []


async def test_a_link_opens_the_very_interval_and_range_and_keys_read_its_candles(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(0, btc="80000.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/BTC?interval=1h&range=1mo")
        await expect(page).to_have_url(f"{client.url}/btc_usd?interval=1h&range=1mo")
        await expect(page.locator("input[name=interval]:checked")).to_have_value("1h")
        await expect(page.locator("#legend")).to_contain_text("80,000.50")

        await page.locator("#chart").press("ArrowLeft")

        await expect(page.locator("#spoken")).to_contain_text("C 80,000.50")
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
    phone = {"width": 360, "height": 740}

    async with (
        serving(settings) as client,
        looking(browser, client.url, color_scheme=scheme, viewport=phone) as (page, watch),
    ):
        for path, last in (
            ("/", "#cards .change"),
            ("/?starred=eth_usd&sort=rise", "#cards .change"),
            ("/?search=nosuch", "#unmatched-words"),
            ("/btc_usd", "#legend"),
            ("/nosuch_usd", "#message"),
        ):
            await page.goto(path)
            await expect(page.locator("#connection")).to_have_text("Live")
            await expect(page.locator(last).first).not_to_be_empty()

            assert await faults_of(page) == []
            assert not await is_too_wide(page)
        assert watch.complaints == []
