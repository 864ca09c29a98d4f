"""Behind nginx, set up as the documents show: under a path, with sockets, streams and addresses."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from browser import looking, needs_browser
from client import PROTOCOL, Client, connected, serving
from nginx import needs_nginx, nginx
from playwright.async_api import Browser, expect
from processes import free_port
from rows import insert, quote

from quotes.database.sessions import Sessions
from quotes.settings import Settings

pytestmark = needs_nginx

UPDATES = "subscription { priceUpdates { price } }"


@pytest.fixture
async def behind(settings: Settings, sessions: Sessions, folder: Path) -> AsyncIterator[Client]:
    """The service at nginx's address. The other process of the example is down."""
    await insert(sessions, quote(price="1"))
    own = {
        "root_path": "/prices",
        "trusted_proxies": ("127.0.0.1",),
        "max_connections_per_address": 1,  # which nginx is not bound by
        "max_sockets_per_address": 1,
    }
    async with (
        serving(settings.model_copy(update=own)) as api,
        nginx(folder, free_port(), urlsplit(api.url).port or 0) as url,
        connected(url) as client,
    ):
        yield client


async def test_queries_are_answered_though_one_process_is_down(behind: Client) -> None:
    answers = await asyncio.gather(*(behind.data("{ latestPrices { price } }") for _ in range(20)))

    assert answers == [[{"price": "1"}]] * 20


async def test_a_post_that_a_process_took_and_ended_with_is_answered_by_the_other(
    settings: Settings, sessions: Sessions, folder: Path
) -> None:
    await insert(sessions, quote(price="1"))
    taken = 0

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        taken += bool(await reader.read(1))
        writer.close()

    ending = await asyncio.start_server(take, "127.0.0.1", 0)
    other = ending.sockets[0].getsockname()[1]
    async with (
        ending,
        serving(settings.model_copy(update={"root_path": "/prices"})) as api,
        nginx(folder, other, urlsplit(api.url).port or 0) as url,
        connected(url) as client,
    ):
        answers = [await client.data("{ latestPrices { price } }") for _ in range(20)]

    assert answers == [[{"price": "1"}]] * 20
    assert taken


async def test_a_socket_is_passed_on(behind: Client, sessions: Sessions) -> None:
    async with behind.subscription(UPDATES) as updates:
        assert await updates.next() == {"price": "1"}
        await insert(sessions, quote(at=1, price="2"))
        assert await updates.next() == {"price": "2"}


async def test_each_event_of_a_stream_arrives_when_it_is_sent(
    behind: Client, sessions: Sessions
) -> None:
    async with behind.http.post(
        f"{behind.url}/graphql", json={"query": UPDATES}, headers={"Accept": "text/event-stream"}
    ) as stream:
        for number in range(1, 4):
            assert await price(stream) == str(number)
            await insert(sessions, quote(at=number, price=str(number + 1)))


async def price(stream: aiohttp.ClientResponse) -> str:
    async with asyncio.timeout(20):
        while not (line := await stream.content.readline()).startswith(b"data: {"):
            assert line
    return str(json.loads(line[6:])["data"]["priceUpdates"]["price"])


async def test_limits_count_the_addresses_of_nginx_s_clients_whatever_these_claim(
    behind: Client,
) -> None:
    closed = []
    async with AsyncExitStack() as stack:
        for source in ("127.0.0.2", "127.0.0.3", "127.0.0.3"):
            socket = await stack.enter_async_context(_socket(behind.url, source))
            await socket.send_json({"type": "connection_init"})
            closed.append((await socket.receive(timeout=20)).type is aiohttp.WSMsgType.CLOSE)

    assert closed == [False, False, True]


@asynccontextmanager
async def _socket(url: str, source: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """From that loopback address, claiming to be another."""
    claim = {"X-Forwarded-For": source.replace("127.0.0", "192.0.2")}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(source, 0))) as http,
        http.ws_connect(f"{url}/graphql", protocols=[PROTOCOL], headers=claim) as socket,
    ):
        yield socket


@needs_browser
async def test_the_page_is_live_and_leads_to_a_ticker_and_to_the_explorer_under_the_path(
    browser: Browser, behind: Client, sessions: Sessions
) -> None:
    async with looking(browser, behind.url) as (page, watch):
        await page.goto("/prices")
        await expect(page.locator("body")).to_have_attribute("data-connection", "live")
        await page.locator('#cards a[href="/prices/btc_usd"]').click()
        await expect(page).to_have_url(re.compile(r"/prices/btc_usd\?"))
        await insert(sessions, quote(at=1, price="81234.5"))
        await expect(page.locator("#price")).to_contain_text("81,234.5")
        await page.locator("nav a").click()
        await expect(page).to_have_url(re.compile(r"/prices/graphql\b"))
        await expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text("query")

        assert watch.complaints == []
