"""A printed page: light whatever the screen is, with its chart and without what is clicked."""

import pytest
from browser import looking, needs_browser
from client import serving
from collected import Market
from playwright.async_api import Browser, Page, expect

from quotes.settings import Settings

pytestmark = needs_browser

CONTROLS = ["#choices", "#back", "header nav", "#query", "summary", "#list", "footer"]


async def corner(page: Page, canvas: str) -> list[int]:
    """The colour of the canvas's first pixel: red, green, blue."""
    colour: list[int] = await page.locator(canvas).first.evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(1, 1, 1, 1).data].slice(0, 3)"
    )
    return colour


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_printed_ticker_is_light_with_its_chart_and_without_controls(
    browser: Browser, settings: Settings, market: Market, scheme: str
) -> None:
    await market.collect(1, btc="80000.5")

    async with (
        serving(settings) as client,
        looking(browser, client.url, color_scheme=scheme) as (page, _),
    ):
        await page.goto("/btc_usd")
        await expect(page.locator("#legend")).to_contain_text("80,000.50")
        on_screen = await corner(page, "#chart canvas")
        await page.emulate_media(media="print")

        printed = page.locator("#printed canvas")
        await expect(printed).to_be_visible()
        box = await printed.bounding_box()
        assert box is not None
        assert box["height"] > 200
        assert min(await corner(page, "#printed canvas")) > 200
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        for control in CONTROLS:
            await expect(page.locator(control).first).to_be_hidden()
        await page.emulate_media(media="screen")
        await expect(printed).to_have_count(0)
        assert await corner(page, "#chart canvas") == on_screen


async def test_the_chart_s_picture_is_ready_before_the_browser_prints(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(1, btc="80000.5")

    async with (
        serving(settings) as client,
        looking(browser, client.url, color_scheme="dark") as (page, _),
    ):
        await page.goto("/btc_usd")
        await expect(page.locator("#legend")).to_contain_text("80,000.50")
        await page.evaluate("dispatchEvent(new Event('beforeprint'))")

        assert min(await corner(page, "#printed canvas")) > 200
