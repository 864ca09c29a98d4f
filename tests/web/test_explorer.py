"""The explorer of /graphql in a real browser, on a real service."""

import asyncio
import json
import re
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from browser import looking, needs_browser
from client import serving
from collected import Market
from playwright.async_api import Browser, Page, expect

from quotes.settings import Settings

pytestmark = needs_browser

RUN = 'button[aria-label^="Execute query"]'


async def run(page: Page, answer: str, complaints: list[str]) -> None:
    """GraphiQL knows a tab's operation only shortly after its editor shows it, and nothing signals
    when: run it until it is answered."""
    async with asyncio.timeout(60):
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
        # Nothing moves the link any more, as it is pressed.
        await expect(page.locator("#chart")).to_have_attribute("aria-label", re.compile("candles"))
        await expect(page.locator("#cards")).to_contain_text("80,000.5")
        sent = [url for url in watch.requests if "explorer" in url]
        await page.locator("#query").click()
        await page.wait_for_url(re.compile("graphql"), wait_until="commit")

        parameters = parse_qs(urlsplit(page.url).query)
        await expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text("Candles")
        await run(page, "80000.5", watch.complaints)

        assert json.loads(parameters["variables"][0])["interval"] == "1h"
        assert sent == []
        assert any("explorer" in url for url in watch.requests)
