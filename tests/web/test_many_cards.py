"""As many cards as the exchange has indexes: only those on the screen cost anything."""

from datetime import UTC, datetime, timedelta

import pytest
from browser import card, looking, needs_browser
from client import serving
from collected import STEP, Market
from playwright.async_api import Browser, expect
from prices import priced
from rows import insert
from test_requests import Requests

from quotes.database.models import Quote
from quotes.database.sessions import Sessions
from quotes.settings import Settings

pytestmark = needs_browser

TICKERS = tuple(f"t{number:03}_usd" for number in range(278))
LAST = TICKERS[-1]
MINUTES = 5
# Counts how often the cards off the screen, and what is read aloud at once, are changed.
WATCH = """
    window.changed = { last: 0, aloud: 0 };
    const watch = (name, nodes) => nodes.forEach((node) => new MutationObserver((all) => {
      window.changed[name] += all.length;
    }).observe(node, { subtree: true, childList: true, characterData: true, attributes: true }));
    watch("last", [document.querySelector("#cards li:last-child")]);
    watch("aloud", document.querySelectorAll("[role=status], [aria-live]"));
"""


@pytest.fixture
async def many(settings: Settings, sessions: Sessions, market: Market) -> Settings:
    await commit(sessions, market.this_minute - timedelta(hours=25), "100")
    for ago in range(MINUTES + 60, MINUTES, -20):
        await commit(sessions, market.this_minute - ago * STEP, "100")
    return settings.model_copy(update={"tickers": TICKERS})


async def commit(sessions: Sessions, minute: datetime, price: str) -> None:
    await insert(sessions, *[now(ticker, minute, price) for ticker in TICKERS])


def now(ticker: str, minute: datetime, price: str) -> Quote:
    quote = priced(ticker, minute, price)
    quote.observed_at = datetime.now(UTC)
    return quote


async def test_a_viewer_of_all_cards_requests_at_most_twice_a_minute(
    browser: Browser, many: Settings, sessions: Sessions, market: Market
) -> None:
    async with serving(many) as client, looking(browser, client.url) as (page, watch):
        requests = Requests(page)
        await page.clock.install()
        began = await page.evaluate("Date.now()")
        await page.goto("/")
        await expect(page.locator("#cards li")).to_have_count(len(TICKERS))
        await expect(card(page, TICKERS[0]).locator("path")).to_be_attached()
        for ticker in (*TICKERS[::20], LAST, TICKERS[0]):
            await card(page, ticker).scroll_into_view_if_needed()
            await expect(card(page, ticker).locator("path")).to_be_attached()
        assert requests.sent == {"Tickers": 1, "Sparklines": 1}

        for ago in range(MINUTES - 1, -1, -1):
            await commit(sessions, market.this_minute - ago * STEP, f"{200 + ago}.25")
            await expect(card(page, LAST).locator(".price")).to_have_text(f"{200 + ago}.250")
            await page.clock.run_for(60_000)

        minutes = (await page.evaluate("Date.now()") - began) / 60_000  # by the page's clock
        assert requests.sent["Sparklines"] == 1
        assert requests.sent["Tickers"] <= 1 + minutes
        assert requests.failed == []
        assert watch.complaints == []


async def test_all_lines_are_read_at_once_where_all_cards_are_in_view(
    browser: Browser, many: Settings
) -> None:
    tall = {"width": 1600, "height": 12_000}

    async with (
        serving(many) as client,
        looking(browser, client.url, viewport=tall) as (page, _),
    ):
        requests = Requests(page)
        await page.goto("/")

        await expect(page.locator("#cards path")).to_have_count(len(TICKERS))
        assert requests.sent == {"Tickers": 1, "Sparklines": 1}


async def test_a_card_off_the_screen_is_not_drawn_and_changes_only_with_its_price(
    browser: Browser, many: Settings, sessions: Sessions, market: Market
) -> None:
    async with serving(many) as client, looking(browser, client.url) as (page, _):
        await page.clock.install()
        await page.goto("/")
        await expect(page.locator("#connection")).to_have_text("Live")
        await expect(page.locator("#cards li")).to_have_count(len(TICKERS))
        await expect(card(page, TICKERS[0]).locator("path")).to_be_attached()
        await expect(card(page, LAST).locator(".freshness")).to_contain_text("live")
        await page.evaluate(WATCH)

        first = card(page, TICKERS[0]).locator(".freshness")
        before = await first.text_content()
        await page.clock.run_for(3_000)
        await expect(first).not_to_have_text(before or "")
        assert await page.evaluate("window.changed") == {"last": 0, "aloud": 0}
        await commit(sessions, market.this_minute, "201.5")
        await expect(card(page, LAST).locator(".price")).to_have_text("201.500")
        await expect(card(page, LAST).locator(".change")).to_have_text("+101.50 % in 24 h")
        assert await page.evaluate("window.changed.aloud") == 0
        await page.clock.run_for(150_000)
        await expect(card(page, LAST).locator(".freshness")).to_contain_text("stale")

        assert await page.locator("#cards path").count() < 100
        assert await card(page, LAST).locator("path").count() == 0


async def test_a_card_off_the_screen_is_found_by_the_browser_and_reached_by_the_keyboard(
    browser: Browser, many: Settings
) -> None:
    async with serving(many) as client, looking(browser, client.url) as (page, _):
        await page.goto("/")
        await expect(page.locator("#cards li")).to_have_count(len(TICKERS))
        await page.keyboard.press("/")

        assert await page.evaluate("window.find('T200/USD')")
        await expect(card(page, "t200_usd")).to_be_in_viewport()
        await page.locator("#list-query").focus()
        await page.keyboard.press("Shift+Tab")
        await expect(page.locator(f'[data-star="{LAST}"]')).to_be_focused()
        await page.keyboard.press("Shift+Tab")
        await expect(card(page, LAST)).to_be_focused()
        await expect(card(page, LAST)).to_be_in_viewport()
        await expect(card(page, LAST).locator("path")).to_be_attached()


async def test_a_line_has_no_more_points_however_long_the_page_is_open(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    hours = 20
    await insert(sessions, now("btc_usd", market.this_minute - 60 * hours * STEP, "100"))
    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        await page.goto("/")
        await expect(card(page, "btc_usd").locator("path")).to_be_attached()
        minutes = [market.this_minute - ago * STEP for ago in range(60 * hours - 1, -1, -1)]

        await insert(sessions, *[now("btc_usd", at, f"{100 + at.minute}.5") for at in minutes[:-1]])
        await insert(sessions, now("btc_usd", minutes[-1], "777"))

        await expect(card(page, "btc_usd").locator(".price")).to_have_text("777.000")
        path = await card(page, "btc_usd").locator("path").get_attribute("d")
        assert 50 < (path or "").count("L") <= 2 * 4 * (hours + 1)
