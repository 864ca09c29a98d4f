"""Why a price is missing, as a viewer reads it."""

import re

from browser import card, looking, needs_browser
from client import serving
from collected import STEP, Market
from playwright.async_api import Browser, expect
from prices import priced
from rows import insert

from quotes.database.models import Failure
from quotes.database.sessions import Sessions
from quotes.market.sources import Cause
from quotes.settings import Settings

pytestmark = needs_browser

RAW = re.compile("|".join([*Cause, "www.deribit.com", "exchange.internal"]))


async def test_each_cause_is_a_sentence_without_its_code_and_without_the_exchange_s_host(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    tickers = {f"t{number:02}_usd": cause for number, cause in enumerate(Cause)}
    async with sessions.begin() as session:
        for ticker, cause in tickers.items():
            session.add(
                Failure(
                    ticker=ticker,
                    minute=market.this_minute - STEP,
                    cause=cause,
                    message=f"{ticker}: exchange.internal did not answer ({cause}).",
                    failed_at=market.this_minute,
                    attempts=3,
                )
            )
    service = settings.model_copy(update={"tickers": tuple(tickers)})

    async with serving(service) as client, looking(browser, client.url) as (page, _):
        await page.goto("/")
        sentences = []
        for ticker in tickers:
            freshness = card(page, ticker).locator(".freshness")
            await expect(freshness).to_have_text(re.compile(r"^no price yet\. [A-Z].+\.$"))
            sentences.append(await freshness.text_content() or "")

        assert not [each for each in sentences if RAW.search(each)]
        assert not [each for each in sentences if "not known" in each]
        assert len(set(sentences)) == len(sentences)


async def test_a_gap_s_cause_is_read_aloud_in_words(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    await market.collect(3, btc="80000.5")
    async with sessions.begin() as session:
        session.add(
            Failure(
                ticker="btc_usd",
                minute=market.this_minute - 2 * STEP,
                cause=Cause.RATE_LIMITED,
                message="btc_usd: www.deribit.com is asked too often.",
                failed_at=market.this_minute - STEP,
                attempts=3,
            )
        )
    await market.collect(1, btc="80000.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        await page.goto("/btc_usd?interval=1m")
        await expect(page.locator("#legend")).not_to_be_empty()
        await page.locator("#chart").press("Home")
        await page.locator("#chart").press("ArrowRight")

        await expect(page.locator("#spoken")).to_contain_text(
            "no price: the exchange was queried too often"
        )


async def test_a_price_is_shown_stale_as_soon_as_its_index_is_known_to_be_halted(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    at = market.this_minute + 2 * STEP  # so that it does not grow old here
    await insert(sessions, priced("btc_usd", at, "80000.5"), priced("eth_usd", at, "3000.5"))
    async with sessions.begin() as session:
        session.add(
            Failure(
                ticker="btc_usd",
                minute=at + STEP,
                cause=Cause.FROZEN,
                message="btc_usd: its price does not move.",
                failed_at=at,
                attempts=1,
            )
        )

    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        await page.goto("/")
        await expect(card(page, "btc_usd").locator(".freshness")).to_have_text(
            re.compile(r"^stale, \d+ s old\. The exchange made no new price")
        )
        await expect(card(page, "eth_usd").locator(".freshness")).to_have_text(re.compile("^live"))


async def test_a_ticker_that_is_not_collected_any_more_says_so_whatever_failed_last(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    await market.collect(9, btc="80000.5")
    async with sessions.begin() as session:
        session.add(
            Failure(
                ticker="btc_usd",
                minute=market.this_minute - 8 * STEP,
                cause=Cause.LOCKED,
                message="btc_usd: locked.",
                failed_at=market.this_minute,
                attempts=1,
            )
        )

    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        await page.goto("/")
        freshness = card(page, "btc_usd").locator(".freshness")
        await expect(freshness).to_have_text(
            re.compile("stale.*The exchange had locked this price")
        )
    others = settings.model_copy(update={"tickers": ("eth_usd",)})
    async with serving(others) as client, looking(browser, client.url) as (page, _):
        await page.goto("/")
        freshness = card(page, "btc_usd").locator(".freshness")
        await expect(freshness).to_have_text(re.compile("stale.*It is no longer collected here"))
