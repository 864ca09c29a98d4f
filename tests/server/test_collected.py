"""What is collected follows the exchange's list, in API processes that are not restarted."""

from collections.abc import AsyncIterator

import pytest
from client import Client, serving
from rows import insert, quote, wait

from quotes.database import collected, indexes
from quotes.database.sessions import Sessions
from quotes.server.monitoring import health
from quotes.settings import Settings

SHOWN = "{ latestPrices { ticker collected } }"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collected, "REFRESH", 0.02)
    monkeypatch.setattr(health, "CHECK_EVERY", 0.02)


async def listed(sessions: Sessions, *names: str) -> None:
    """Store a list as a worker would."""
    async with sessions.begin() as session:
        await indexes.replace(session, names)


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    """Of a service that collects what is listed in USD."""
    await listed(sessions, "btc_usd", "eth_usd", "btc_usdc")
    async with serving(settings.model_copy(update={"tickers": ("*_usd",)})) as client:
        yield client


async def shown(client: Client) -> dict[str, bool]:
    return {each["ticker"]: each["collected"] for each in await client.data(SHOWN)}


async def test_queries_show_a_ticker_that_is_gone_as_history_and_back_as_collected(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, quote("btc_usd"), quote("eth_usd"), quote("btc_usdc"))
    both = {"btc_usd": True, "btc_usdc": False, "eth_usd": True}
    await wait(lambda: shown(client), lambda found: found == both)
    await shown(client)  # now it is in the cache

    await listed(sessions, "btc_usd", "btc_usdc")
    await wait(lambda: shown(client), lambda found: found == {**both, "eth_usd": False})
    tickers = await client.data("{ tickers { name collected staleReason } }")
    gone = tickers[-1]

    await listed(sessions, "btc_usd", "eth_usd", "btc_usdc")
    await wait(lambda: shown(client), lambda found: found == both)

    assert gone == {"name": "eth_usd", "collected": False, "staleReason": None}


async def test_a_new_ticker_is_known_before_it_has_a_quote(
    client: Client, sessions: Sessions
) -> None:
    query = '{ latestPrice(ticker: "new_usd") { price } }'
    code, _ = await client.refusal(query)

    await listed(sessions, "btc_usd", "new_usd")
    answer = await wait(lambda: client.answer(query), lambda found: "errors" not in found)

    assert code == "UNKNOWN_TICKER"
    assert answer == {"data": {"latestPrice": None}}
    assert [each["name"] for each in await client.data("{ tickers { name } }")] == [
        "btc_usd",
        "new_usd",
    ]


async def test_health_looks_at_what_is_collected_now(client: Client, sessions: Sessions) -> None:
    async def looked_at() -> set[str]:
        _, report = await client.report("/readyz")
        return set(report.get("tickers", ()))

    await wait(looked_at, lambda found: found == {"btc_usd", "eth_usd"})
    await listed(sessions, "eth_usd", "new_usd")
    await wait(looked_at, lambda found: found == {"eth_usd", "new_usd"})


async def test_a_subscription_shows_what_is_collected_at_each_quote(
    client: Client, sessions: Sessions
) -> None:
    async with client.subscription("subscription { priceUpdates { ticker at collected } }") as live:
        await insert(sessions, quote("eth_usd", at=1))
        before = await live.next()
        await listed(sessions, "btc_usd")
        await wait(lambda: client.report("/readyz"), lambda found: "eth" not in str(found))
        await insert(sessions, quote("eth_usd", at=2))
        after = await live.next()

    assert (before["collected"], after["collected"]) == (True, False)


async def test_a_currency_s_page_is_that_of_a_collected_ticker(
    client: Client, sessions: Sessions
) -> None:
    async def status(path: str) -> int:
        async with client.http.get(f"{client.url}{path}") as response:
            return response.status

    assert (await status("/eth"), await status("/new")) == (200, 404)
    await listed(sessions, "new_usd")
    await wait(lambda: status("/new"), lambda found: found == 200)
    assert await status("/eth") == 404
