"""What the address of an opened ticker names: shown, or the reason why not, in plain words."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from browser import looking, needs_browser
from client import serving
from collected import Market
from playwright.async_api import Browser, Page, expect
from prices import priced
from rows import insert

from quotes.database.sessions import Sessions
from quotes.market.intervals import INTERVALS
from quotes.settings import Settings

pytestmark = needs_browser

HUGE = "9" * 400 + "d"


async def chosen(page: Page) -> tuple[str, str]:
    interval = page.locator("input[name=interval]:checked")
    return await interval.input_value(), await page.locator(
        "input[name=range]:checked"
    ).input_value()


async def test_each_interval_of_the_service_is_shown_as_named(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(0, btc="80000.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        for name in INTERVALS:
            await page.goto(f"/btc_usd?interval={name.upper() if name != '1m' else name}")
            await expect(page.locator("#chart")).to_have_attribute(
                "aria-label",
                # Of a minute, a second one may have begun, which has no price yet.
                re.compile(rf"^Chart of BTC/USD: \d candles of {name}, \d of them without a price"),
            )

            assert (await chosen(page))[0] == name
            assert await page.locator("#notice").text_content() == ""
        assert watch.complaints == []


async def test_what_cannot_be_shown_is_said_in_words_and_the_usual_is_shown(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(0, btc="80000.5")
    cases = {
        "interval=1w&range=1d": ("A range of 1 day is too short for candles of 1w", "1w", "3y"),
        "interval=1w&range=6h": ("A range of 6 hours is too short for candles of 1w", "1w", "3y"),
        "interval=1d&range=1d": ("A range of 1 day is too short for candles of 1d", "1d", "1y"),
        "interval=1m&range=1y": ("more than 5,000 candles of 1m", "1m", "6h"),
        "range=1h": ("There is no range “1h”, this is 1 day. There are 6h, 1d", "5m", "1d"),
        "interval=7m": ("There are no candles of “7m”, these are of 5m. There are 1m", "5m", "1d"),
        "interval=1M": ("There are no candles of “1M”", "5m", "1d"),
        "interval=-1h": ("There are no candles of “-1h”", "5m", "1d"),
        f"range={HUGE}": ("There is no range “99999999999999999999…”", "5m", "1d"),
        "interval=constructor": ("There are no candles of “constructor”", "5m", "1d"),
        "interval=1h&interval=1d": ("more than one interval; the first one counts", "1h", "1w"),
        "zone=Mars/Olympus": ("There is no time zone “Mars/Olympus”; times are in UTC", "5m", "1d"),
        "zone=%2B02:00": ("There is no time zone “+02:00”", "5m", "1d"),
    }

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        for search, (words, *shown) in cases.items():
            await page.goto(f"/btc_usd?{search}")

            await expect(page.locator("#notice")).to_contain_text(words)
            await expect(page.locator("#legend")).to_contain_text("80,000.50")
            assert list(await chosen(page)) == shown
        assert watch.complaints == []


@pytest.mark.parametrize("search", ["interval=&range=&zone=", "interval=%20", "INTERVAL=1h"])
async def test_an_empty_or_foreign_parameter_is_as_none(
    browser: Browser, settings: Settings, market: Market, search: str
) -> None:
    await market.collect(0, btc="80000.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        await page.goto(f"/btc_usd?{search}")
        await expect(page.locator("#legend")).to_contain_text("80,000.50")

        assert await chosen(page) == ("5m", "1d")
        assert await page.locator("#notice").text_content() == ""


async def test_a_range_that_cannot_be_shown_cannot_be_chosen_and_its_tooltip_gives_the_reason(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(0, btc="80000.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        await page.goto("/btc_usd?interval=1d")

        assert await page.locator("input[name=range]:disabled").count() == 2  # 6 hours and 1 day
        await expect(page.locator("label", has_text="6 hours")).to_have_attribute(
            "title", "A range of 6 hours is too short for candles of 1d."
        )


async def test_the_viewer_s_time_zone_can_be_chosen_and_is_remembered(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(0, btc="80000.5")
    local = market.this_minute.astimezone(ZoneInfo("Asia/Kathmandu"))

    async with (
        serving(settings) as client,
        looking(browser, client.url, timezone_id="Asia/Kathmandu") as (page, watch),
    ):
        await page.goto("/btc_usd?interval=1m")
        await expect(page.locator("#legend")).to_contain_text("UTC")
        own = page.locator("input[name=zone]").nth(1)
        await page.locator("input[name=zone]:checked").press("ArrowRight")

        await expect(page.locator("#legend")).to_contain_text(f"{local:%Y-%m-%d %H:%M} +05:45")
        await expect(own).to_be_focused()
        address = page.url
        await page.goto("/eth_usd")
        await expect(page.locator("#legend")).to_contain_text("+05:45")
        assert "zone=" in address
        assert "zone=" in page.url
        assert watch.complaints == []


def last_return_to_winter_time() -> datetime:
    """When 03:00 became 02:00 in Berlin, within the last year, the range that is read."""
    now = datetime.now(UTC)
    for year in (now.year, now.year - 1):
        last = datetime(year, 10, 31, 1, tzinfo=UTC)
        change = last - timedelta(days=(last.weekday() + 1) % 7)
        if change < now - timedelta(days=2):
            return change
    raise AssertionError


async def test_on_the_day_of_a_clock_change_candles_are_cut_and_named_by_the_zone_s_clocks(
    browser: Browser, settings: Settings, sessions: Sessions
) -> None:
    change = last_return_to_winter_time()
    hours = [change + timedelta(hours=each) for each in range(-5, 28)]
    await insert(
        sessions,
        *(priced("btc_usd", each, f"{index + 100}.5") for index, each in enumerate(hours)),
    )
    day, next_day = f"{change:%Y-%m-%d}", f"{change + timedelta(days=1):%Y-%m-%d}"

    async with serving(settings) as client, looking(browser, client.url) as (page, watch):
        await page.goto("/btc_usd?interval=2h&range=1y&zone=Europe/Berlin")
        hourly = await read_aloud(page, 5)
        await page.goto("/btc_usd?interval=1d&range=1y&zone=Europe/Berlin")
        daily = await read_aloud(page, 3)

        assert [each[:23] for each in hourly] == [
            f"{change - timedelta(hours=5):%Y-%m-%d} 22:00 +02:00",
            f"{day} 00:00 +02:00",
            f"{day} 02:00 +02:00",
            f"{day} 04:00 +01:00",
            f"{day} 06:00 +01:00",
        ]
        assert daily[1].startswith(f"{day} 00:00 +02:00  O 102.50")
        assert "C 126.50" in daily[1]  # 25 hours
        assert daily[2].startswith(f"{next_day} 00:00 +01:00  O 127.50")
        assert watch.complaints == []


async def read_aloud(page: Page, count: int) -> list[str]:
    """The first candles, as the arrow keys read them."""
    await expect(page.locator("#legend")).not_to_be_empty()
    sentences = []
    for key in ["Home", *["ArrowRight"] * (count - 1)]:
        await page.locator("#chart").press(key)
        sentences.append(await page.locator("#spoken").text_content() or "")
    return sentences
