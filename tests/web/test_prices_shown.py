"""How prices are written on the page: as many decimals for all of a ticker, no exact digit lost."""

import pytest
from browser import AXE, card, faults_of, is_too_wide, looking, needs_browser, rows_of
from client import serving
from collected import STEP, Market
from playwright.async_api import Browser, Page, expect
from prices import priced
from rows import insert, wait

from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.settings import Settings

pytestmark = needs_browser


async def axis_of(page: Page) -> list[str]:
    """The numbers that the chart draws: it has no text but on its canvases."""
    drawn: list[str] = await page.evaluate("window.drawn")
    return drawn


RECORD = """
window.drawn = [];
const draw = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
  window.drawn.push(text);
  return draw.call(this, text, ...rest);
};
"""


async def test_the_axis_of_a_cheap_ticker_shows_its_digits_and_that_of_a_dear_one_thousands(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    for ago, cheap in enumerate(["0.0000123", "0.0000125", "0.0000121"]):
        minute = market.this_minute - ago * STEP
        await insert(
            sessions,
            priced("shib_usdc", minute, cheap),
            priced("btc_usd", minute, f"8{ago}000.5"),
        )

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.add_init_script(RECORD)
        await page.goto("/shib_usdc?interval=1m")
        await expect(page.locator("#legend")).to_contain_text("C 0.0000123")
        cheap_axis = await wait(
            lambda: axis_of(page), lambda axis: any(t.startswith("0.00001") for t in axis)
        )
        await page.goto("/btc_usd?interval=1m")
        dear_axis = await wait(lambda: axis_of(page), lambda axis: any("0,000." in t for t in axis))

        assert not {"0.00", "0", "-0.00"} & set(cheap_axis)
        assert not any(text.startswith("8") and "," not in text for text in dear_axis)
        assert watch.complaints == []


async def test_all_prices_of_a_ticker_have_as_many_decimals_and_their_exact_digits_are_at_hand(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    average = "2661.123456789012345"
    now = market.this_minute
    await insert(
        sessions,
        priced("eth_usd", now - 2 * STEP, average, Origin.REPAIRED),
        priced("eth_usd", now - STEP, "2661.999", Origin.REPAIRED),
        priced("eth_usd", now, "2662"),
    )

    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        await page.goto("/eth_usd?interval=1m")
        await page.locator("summary").click()
        await expect(page.locator("#rows tr").nth(2)).to_be_visible()

        await expect(page.locator("#price")).to_have_text("2,662.00")
        await expect(page.locator("#price")).to_have_attribute("title", "2,662")
        closes = [row[4] for row in await rows_of(page)]
        assert closes[:3] == ["2,662.00", "2,662.00", "2,661.12"]
        cell = page.locator("#rows tr").nth(2).locator("td").nth(3)
        await expect(cell).to_have_attribute("title", "2,661.123456789012345")


async def test_no_digit_of_a_live_price_is_rounded_away(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(0, btc="81110.428333", eth="0.000000123456789")

    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        await page.goto("/")
        await expect(card(page, "btc_usd").locator(".price")).to_have_text("81,110.428333")
        await expect(card(page, "eth_usd").locator(".price")).to_have_text("0.000000123456789")


@pytest.mark.parametrize("width", [320, 360])
async def test_long_prices_and_all_choices_stay_within_a_phone_and_within_their_cards(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market, width: int
) -> None:
    digits = "0.000000000012345678901234567890123456789"
    for ago in range(0, 1_600, 10):
        minute = market.this_minute - ago * STEP
        await insert(sessions, priced("btc_usd", minute, f"{80_000 + ago}.5"))
    await insert(sessions, priced("long_usd", market.this_minute, digits))

    async with (
        serving(settings) as client,
        looking(browser, client.url, viewport={"width": width, "height": 740}) as (page, _),
    ):
        await page.goto("/")
        line = card(page, "btc_usd").locator(".sparkline path")
        await line.wait_for(state="attached")
        outside = await line.evaluate(
            """path => {
                const { x, width } = path.getBBox();
                return getComputedStyle(path.ownerSVGElement).overflow !== "hidden"
                    || x < 0 || x + width > 120;
            }"""
        )
        assert not outside
        assert not await is_too_wide(page)
        for path in ("/btc_usd", "/long_usd", "/btc_usd?interval=7m&zone=America/New_York"):
            await page.goto(path)
            await expect(page.locator("#legend")).not_to_be_empty()
            assert not await is_too_wide(page), path
            beyond = await page.evaluate(
                """() => [...document.querySelectorAll("main *")].filter(each => {
                    const scrolls = each.closest(".choice") ?? each.closest(".scroll");
                    const right = each.getBoundingClientRect().right;
                    return right > innerWidth + 1 && (!scrolls || scrolls === each);
                }).length"""
            )
            assert beyond == 0


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_serious_fault_in_a_table_a_notice_and_a_cheap_ticker(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market, scheme: str
) -> None:
    await insert(sessions, priced("shib_usdc", market.this_minute, "0.0000123"))

    async with (
        serving(settings) as client,
        looking(browser, client.url, color_scheme=scheme, timezone_id="Asia/Kathmandu") as (
            page,
            _,
        ),
    ):
        await page.goto("/shib_usdc?interval=7m&range=1h")
        await page.locator("summary").click()
        await expect(page.locator("#rows tr").first).to_be_visible()

        assert await faults_of(page) == []
