"""Search, order and favourites of the list: in the address, and the same for whoever opens it."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from browser import card, looking, needs_browser
from client import serving
from collected import STEP, Market
from playwright.async_api import Browser, Locator, Page, expect
from prices import priced
from rows import insert

from quotes.database.maintenance import removal
from quotes.database.models import Quote
from quotes.database.sessions import Sessions
from quotes.settings import Settings

pytestmark = needs_browser

DAY = timedelta(days=1)
# The change over a day, and how many minutes ago the newest price was; eth has no price a day ago.
MOVED = {"btc_usd": (5, 2), "btc_usdc": (-3, 1), "sol_usdc": (9, 3), "eth_usd": (None, 0)}
NEVER = "xrp_usd"  # has no price at all
TICKERS = (*MOVED, NEVER)


@pytest.fixture
async def listed(settings: Settings, sessions: Sessions, market: Market) -> Settings:
    for ticker, (percent, ago) in MOVED.items():
        newest = market.this_minute - ago * STEP
        if percent is not None:
            await insert(sessions, priced(ticker, newest - DAY, "100"))
        await insert(sessions, now(ticker, newest, str(100 + (percent or 0))))
    return settings.model_copy(update={"tickers": TICKERS})


def now(ticker: str, minute: datetime, price: str) -> Quote:
    quote = priced(ticker, minute, price)
    quote.observed_at = datetime.now(UTC)
    return quote


async def shows(page: Page, *tickers: str) -> None:
    """Waits until the list has these cards in this order."""
    names = [re.compile(f"^{each.replace('_', '/').upper()}$") for each in tickers]
    await expect(page.locator("#cards .name")).to_have_text(names)


def star(page: Page, ticker: str) -> Locator:
    return page.locator(f'[data-star="{ticker}"]')


async def test_typing_searches_by_name_a_slash_focuses_the_search_and_escape_clears_it(
    browser: Browser, listed: Settings
) -> None:
    async with serving(listed) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/")
        await shows(page, "btc_usd", "btc_usdc", "eth_usd", "sol_usdc", NEVER)
        await expect(page.locator("#count")).to_have_text("5 tickers")

        await page.keyboard.press("/")
        await expect(page.locator("#search")).to_be_focused()
        for typed, found in {
            "BTC": ["btc_usd", "btc_usdc"],
            "btc/usdc": ["btc_usdc"],
            " usdc sol ": ["sol_usdc"],
        }.items():
            await page.locator("#search").fill(typed)
            await shows(page, *found)
            await expect(page.locator("#count")).to_have_text(f"{len(found)} of 5")
        await page.keyboard.press("Enter")
        await expect(card(page, "sol_usdc")).to_be_focused()
        await page.keyboard.press("/")
        await page.keyboard.press("Escape")

        await shows(page, "btc_usd", "btc_usdc", "eth_usd", "sol_usdc", NEVER)
        await expect(page.locator("#search")).to_be_focused()
        await expect(page).to_have_url(f"{client.url}/")
        assert watch.complaints == []


async def test_without_a_match_the_page_says_so_and_what_to_do(
    browser: Browser, listed: Settings
) -> None:
    async with serving(listed) as client, looking(browser, client.url) as (page, _):
        await page.goto("/?search=doge")
        await expect(page.locator("#unmatched-words")).to_have_text(
            "No ticker here matches “doge”. Try a part of its name, as btc or usdc. "
            "One that is not collected yet is added in QUOTES_TICKERS."
        )
        await expect(page.locator("#count")).to_have_text("0 of 5")

        await page.locator("#clear").click()

        await expect(page.locator("#cards li")).to_have_count(5)
        await expect(page.locator("#unmatched")).to_be_hidden()
        await expect(page.locator("#search")).to_be_focused()


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("rise", ["sol_usdc", "btc_usd", "btc_usdc", "eth_usd", NEVER]),
        ("fall", ["btc_usdc", "btc_usd", "sol_usdc", "eth_usd", NEVER]),
        ("fresh", ["eth_usd", "btc_usdc", "btc_usd", "sol_usdc", NEVER]),
        ("stale", [NEVER, "sol_usdc", "btc_usd", "btc_usdc", "eth_usd"]),
    ],
)
async def test_cards_are_sorted_by_change_and_by_freshness_with_what_is_not_known_last(
    browser: Browser, listed: Settings, sort: str, order: list[str]
) -> None:
    async with serving(listed) as client, looking(browser, client.url) as (page, _):
        await page.goto("/")
        await page.locator("#sort").select_option(sort)

        await shows(page, *order)
        await expect(page).to_have_url(f"{client.url}/?sort={sort}")


async def test_search_order_and_favourites_survive_a_reload_and_are_the_same_for_another_viewer(
    browser: Browser, listed: Settings
) -> None:
    shown = ["sol_usdc", "btc_usdc", "btc_usd"]
    async with serving(listed) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/")
        await star(page, "sol_usdc").click()
        await page.locator("#sort").select_option("fall")
        await page.locator("#search").fill("c us")
        await shows(page, *shown)
        address = f"{client.url}/?search=c+us&sort=fall&starred=sol_usdc"
        await expect(page).to_have_url(address)
        await expect(page.locator("#foreign-stars")).to_be_hidden()

        await page.reload()
        await shows(page, *shown)
        async with looking(browser, client.url) as (other, _):
            await other.goto(address)

            await shows(other, *shown)
            await expect(star(other, "sol_usdc")).to_have_attribute("aria-pressed", "true")
            await expect(other.locator("#search")).to_have_value("c us")
            await expect(other.locator("#sort")).to_have_value("fall")
        assert watch.complaints == []


async def test_a_ticker_is_opened_and_left_with_the_list_as_it_was(
    browser: Browser, listed: Settings
) -> None:
    async with serving(listed) as client, looking(browser, client.url) as (page, _):
        await page.goto("/?search=usdc&sort=fall")
        await card(page, "sol_usdc").click()
        opened = f"{client.url}/sol_usdc?interval=5m&range=1d&search=usdc&sort=fall"
        await expect(page).to_have_url(opened)
        await shows(page, "btc_usdc", "sol_usdc")

        await page.reload()
        await shows(page, "btc_usdc", "sol_usdc")
        await page.locator("h1 a").click()
        await expect(page).to_have_url(f"{client.url}/?search=usdc&sort=fall")
        await page.locator("#search").fill("btc")
        await page.go_back()

        await expect(page).to_have_url(opened)
        await shows(page, "btc_usdc", "sol_usdc")


async def test_favourites_of_another_s_address_take_no_place_of_one_s_own_until_they_are_to(
    browser: Browser, listed: Settings
) -> None:
    async with serving(listed) as client, looking(browser, client.url) as (page, _):
        await page.goto("/")
        await star(page, NEVER).click()
        await shows(page, NEVER, "btc_usd", "btc_usdc", "eth_usd", "sol_usdc")

        await page.goto("/?starred=sol_usdc")
        await shows(page, "sol_usdc", "btc_usd", "btc_usdc", "eth_usd", NEVER)
        await star(page, "eth_usd").click()
        await shows(page, "eth_usd", "sol_usdc", "btc_usd", "btc_usdc", NEVER)
        await page.goto("/")
        await shows(page, NEVER, "btc_usd", "btc_usdc", "eth_usd", "sol_usdc")
        await page.goto("/?starred=sol_usdc")
        await page.locator("#own-stars").click()
        await shows(page, NEVER, "btc_usd", "btc_usdc", "eth_usd", "sol_usdc")
        await page.goto("/?starred=sol_usdc")
        await page.locator("#keep-stars").click()
        await expect(page.locator("#foreign-stars")).to_be_hidden()
        await page.goto("/")

        await shows(page, "sol_usdc", "btc_usd", "btc_usdc", "eth_usd", NEVER)


async def test_a_favourite_of_one_window_is_one_in_the_other(
    browser: Browser, listed: Settings
) -> None:
    async with serving(listed) as client, looking(browser, client.url) as (page, _):
        await page.goto("/")
        await shows(page, "btc_usd", "btc_usdc", "eth_usd", "sol_usdc", NEVER)
        other = await page.context.new_page()
        await other.goto("/")
        await star(other, "sol_usdc").click()

        await shows(page, "sol_usdc", "btc_usd", "btc_usdc", "eth_usd", NEVER)
        await expect(page).to_have_url(f"{client.url}/?starred=sol_usdc")
        await expect(page.locator("#foreign-stars")).to_be_hidden()


@pytest.mark.parametrize("search", ["sort=price", "sort=constructor", "sort=" + "9" * 400])
async def test_an_order_that_there_is_not_is_told_and_the_usual_one_shown(
    browser: Browser, listed: Settings, search: str
) -> None:
    async with serving(listed) as client, looking(browser, client.url) as (page, watch):
        await page.goto(f"/?{search}&starred=%00,../x,,BTC_USDC")

        await expect(page.locator("#list-notice")).to_contain_text("There is no order “")
        await expect(page.locator("#list-notice")).to_contain_text("There are name, rise, fall")
        await shows(page, "btc_usdc", "btc_usd", "eth_usd", "sol_usdc", NEVER)
        await expect(page).to_have_url(f"{client.url}/?starred=btc_usdc")
        assert watch.complaints == []


async def test_cards_that_are_sorted_anew_by_a_price_leave_the_focus_where_it_is(
    browser: Browser, listed: Settings, sessions: Sessions, market: Market
) -> None:
    async with serving(listed) as client, looking(browser, client.url) as (page, _):
        await page.goto("/?sort=rise")
        await shows(page, "sol_usdc", "btc_usd", "btc_usdc", "eth_usd", NEVER)
        await page.evaluate(
            """document.addEventListener("focusout", () => { window.lostFocus = true; })"""
        )
        await card(page, "btc_usdc").focus()

        await insert(sessions, now("btc_usdc", market.this_minute, "150"))

        await shows(page, "btc_usdc", "sol_usdc", "btc_usd", "eth_usd", NEVER)
        await expect(card(page, "btc_usdc")).to_be_focused()
        await insert(sessions, now("btc_usdc", market.this_minute + STEP, "101"))
        await shows(page, "sol_usdc", "btc_usd", "btc_usdc", "eth_usd", NEVER)
        await expect(card(page, "btc_usdc")).to_be_focused()
        assert not await page.evaluate("window.lostFocus")


async def test_a_ticker_that_appears_and_one_that_is_gone_need_no_reload(
    browser: Browser, listed: Settings, sessions: Sessions, market: Market
) -> None:
    old = "old_usd"  # has quotes, and is not collected
    await insert(sessions, now(old, market.this_minute, "1"))
    async with serving(listed) as client, looking(browser, client.url) as (page, watch):
        await page.clock.install()
        await page.goto("/?search=o")
        await shows(page, old, "sol_usdc")
        await expect(page.locator("#connection")).to_have_text("Live")

        await insert(sessions, now("new-o_usd", market.this_minute, "7"))
        await page.clock.run_for(11_000)  # within ten seconds of its first quote
        await shows(page, "new-o_usd", old, "sol_usdc")
        async with sessions.begin() as session:
            piece = removal.Extent(old, market.this_minute, market.this_minute + STEP)
            await removal.remove(session, piece)
        await page.clock.run_for(90_000)

        await shows(page, "new-o_usd", "sol_usdc")
        await expect(page.locator("#count")).to_have_text("2 of 6")
        await expect(card(page, "new-o_usd").locator(".price")).to_have_text("7.00000")
        assert watch.complaints == []
