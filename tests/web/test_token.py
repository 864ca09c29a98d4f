"""The page of a service that requires access tokens."""

from functools import partial

from browser import card, looking, needs_browser
from client import serving
from collected import Market
from playwright.async_api import Browser, expect

from quotes.database import tokens
from quotes.database.sessions import Sessions
from quotes.settings import Settings

pytestmark = needs_browser

TOKEN = "qt_viewer"  # noqa: S105  # no secret


async def test_a_viewer_gives_the_token_once_and_sees_live_prices(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    await market.collect(2, btc="80000.5")
    await sessions.transact(partial(tokens.add, name="viewer", token=TOKEN))
    closed = settings.model_copy(update={"access": "token"})

    async with serving(closed) as client, looking(browser, client.url) as (page, _):
        await page.goto("/")
        await page.get_by_label("access token").fill(TOKEN)
        await page.get_by_role("button", name="Continue").click()

        await expect(card(page, "btc_usd")).to_contain_text("80,000.5")
        await expect(page.locator("#connection")).to_have_text("Live")
        await page.goto("/graphql")
        await expect(page.locator("#token")).to_have_count(0)
        await expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text("{")
