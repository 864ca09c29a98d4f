"""What viewers request while prices come: the stream carries what is new, little is read again."""

from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

from browser import card, looking, needs_browser
from client import serving
from collected import STEP, Market
from playwright.async_api import Browser, Page, expect
from prices import priced
from rows import insert, wait

from quotes.database.sessions import Sessions
from quotes.settings import Settings

pytestmark = needs_browser

MINUTES = 10
TICKERS = tuple(f"t{number:02}_usd" for number in range(20))
SILENT = TICKERS[-1]  # never has a price
MINUS = "\N{MINUS SIGN}"
WINDOW = {"width": 1600, "height": 2000}  # that has room for all cards


class Requests:
    """A viewer's queries by their operation, and which of them failed."""

    def __init__(self, page: Page) -> None:
        self.sent: Counter[str] = Counter()
        self.failed: list[int] = []
        page.on("request", self._request)
        page.on("response", self._response)

    def _request(self, request: Any) -> None:
        if request.method == "POST":
            self.sent[request.post_data_json["query"].split()[1].split("(")[0]] += 1

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.failed.append(response.status)


async def commit(sessions: Sessions, minute: datetime, price: str) -> None:
    quotes = [priced(ticker, minute, price) for ticker in TICKERS if ticker != SILENT]
    for quote in quotes:
        quote.observed_at = datetime.now(UTC)
    await insert(sessions, *quotes)


async def test_viewers_of_twenty_cards_request_at_most_twice_a_minute_and_nothing_at_a_commit(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    for ago in range(MINUTES + 2, MINUTES, -1):
        await commit(sessions, market.this_minute - ago * STEP, "100.25")
    service = settings.model_copy(update={"tickers": TICKERS})

    async with serving(service) as client, AsyncExitStack() as stack:
        viewers = []
        for _ in range(3):
            page, watch = await stack.enter_async_context(
                looking(browser, client.url, viewport=WINDOW)
            )
            requests = Requests(page)
            await page.clock.install()
            began = await page.evaluate("Date.now()")
            await page.goto("/")
            await expect(page.locator("#cards .sparkline path")).to_have_count(len(TICKERS))
            viewers.append((page, watch, requests, began))
        for ago in range(MINUTES, 0, -1):
            before = [requests.sent["Sparklines"] for _, _, requests, _ in viewers]
            await commit(sessions, market.this_minute - ago * STEP, f"{200 + ago}.25")
            for page, *_ in viewers:
                shown = page.locator("#cards .price", has_text=f"{200 + ago}.250")
                await expect(shown).to_have_count(len(TICKERS) - 1)
                await page.clock.run_for(60_000)
            assert [requests.sent["Sparklines"] for _, _, requests, _ in viewers] == before

        for page, watch, requests, began in viewers:
            minutes = (await page.evaluate("Date.now()") - began) / 60_000  # by the page's clock
            assert minutes >= MINUTES
            assert requests.sent.total() <= 2 * minutes
            assert requests.sent["Sparklines"] == 1
            assert requests.sent["Tickers"] >= 2  # for causes, and for the prices of a day ago
            assert requests.failed == []
            assert watch.complaints == []


async def test_an_opened_ticker_s_candles_grow_by_its_stream_without_a_query(
    browser: Browser, settings: Settings, market: Market
) -> None:
    await market.collect(2, btc="80000.5")
    await market.collect(1, btc="80001.5")

    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        requests = Requests(page)
        await page.goto("/btc_usd?interval=1h&range=1w")
        await expect(page.locator("#legend")).to_contain_text("C 80,001.50")
        await expect(page.locator("#connection")).to_have_text("Live")

        await market.collect(0, btc="90000.75")

        await expect(page.locator("#legend")).to_contain_text("C 90,000.75")
        assert requests.sent["Candles"] == 1


async def test_a_card_s_change_over_a_day_stays_the_service_s_as_both_its_ends_move_on(
    browser: Browser, settings: Settings, sessions: Sessions, market: Market
) -> None:
    day = 24 * 60 * STEP
    gap = 2  # a minute without a price a day ago: then the one before it counts
    for ago in range(6, -1, -1):
        if ago != gap:
            await insert(
                sessions,
                priced("btc_usd", market.this_minute - day - ago * STEP, f"{100 + 7 * ago}.5"),
            )
    await insert(sessions, priced("btc_usd", market.this_minute - 5 * STEP, "200.5"))

    async with serving(settings) as client, looking(browser, client.url) as (page, _):
        await page.clock.install()
        requests = Requests(page)
        await page.goto("/")
        await expect(card(page, "btc_usd").locator(".change")).to_contain_text("%")
        for ago in range(4, -1, -1):
            written = f"{200 + 3 * ago}.5"
            await insert(sessions, priced("btc_usd", market.this_minute - ago * STEP, written))
            change = await wait(
                lambda: client.data('{ change(ticker: "BTC") { percent latest { price } } }'),
                lambda change: change["latest"]["price"] == written,  # noqa: B023
            )

            expected = f"{float(change['percent']):+.2f} % in 24 h".replace("-", MINUS)
            await page.clock.run_for(90_000)  # by when the price of a day ago was read again
            await expect(card(page, "btc_usd").locator(".change")).to_have_text(expected)
        assert requests.sent["Sparklines"] == 1
