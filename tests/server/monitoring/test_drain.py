"""How a web process ends: not ready first, then nothing new, then what is open."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from client import Client, serving
from rows import insert, quote, wait

from quotes.database.sessions import Sessions
from quotes.settings import Settings

UPDATES = "subscription { priceUpdates { price } }"


@pytest.fixture
async def draining(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    """A process that was asked to end, and drains until a test lets it end."""
    await insert(sessions, quote())
    async with serving(settings.model_copy(update={"drain": 60.0})) as client:
        await client.data("{ tickers { name } }")
        client.server.should_exit = True
        await wait(
            lambda: client.report("/readyz"),
            lambda found: "shutting down" in str(found[1]["process"]),
        )
        yield client
        client.server._drain = 0


async def test_a_draining_process_is_not_ready_but_alive(draining: Client) -> None:
    status, report = await draining.report("/readyz")

    assert (status, report["ok"]) == (503, False)
    assert (await draining.report("/healthz"))[0] == 200


async def test_a_draining_process_answers_and_ends_each_connection_after_its_answer(
    draining: Client,
) -> None:
    for _ in range(2):
        async with draining.http.post(
            f"{draining.url}/graphql", json={"query": "{ latestPrices { price } }"}
        ) as response:
            assert response.headers["Connection"] == "close"
            assert (await response.json())["data"]["latestPrices"][0]["price"] == "100000.5"


async def test_subscribers_are_served_until_the_drain_ends_and_then_all_are_closed_cleanly(
    draining: Client, sessions: Sessions
) -> None:
    stream = await draining.http.get(
        f"{draining.url}/graphql",
        params={"query": UPDATES},
        headers={"Accept": "text/event-stream"},
    )
    async with draining.subscription(UPDATES) as updates:
        assert await updates.next() == {"price": "100000.5"}
        await insert(sessions, quote(at=1, price="7"))
        assert await updates.next() == {"price": "7"}

        draining.server._drain = 0
        last = await updates.socket.receive(timeout=60)

    assert (last.type, last.data) == (aiohttp.WSMsgType.CLOSE, 1012)
    async with asyncio.timeout(60):
        assert b'"price":"7"' in await stream.read()  # raises where it is cut off


async def test_nothing_new_is_accepted_before_the_first_socket_is_closed(draining: Client) -> None:
    """So that whoever reconnects is sent to another process."""
    async with draining.acknowledged_socket() as socket:
        draining.server._drain = 0
        await socket.receive(timeout=60)
        with pytest.raises(aiohttp.ClientConnectorError):
            await draining.http.get(f"{draining.url}/healthz")
