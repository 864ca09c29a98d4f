"""JavaScript clients, as a front end uses them, through a restart of the service."""

import asyncio
import signal
from typing import Any

import pytest
from browser import browsing, looking, needs_browser
from node import needs_clients, script
from playwright.async_api import Page
from processes import Api, free_port
from rows import keep, quote, wait

from quotes.database import store
from quotes.local import probe
from quotes.settings import Settings

EVENTS = """
    (query) => {
        window.cursors = [];
        const source = new EventSource("/graphql?query=" + encodeURIComponent(query));
        source.addEventListener("next", ({ data }) =>
            window.cursors.push(JSON.parse(data).data.priceUpdates.cursor));
    }
"""


async def cursors(lines: asyncio.StreamReader, count: int) -> list[str]:
    async with asyncio.timeout(60):
        return [(await lines.readline()).decode().strip() for _ in range(count)]


@needs_clients
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("kind", ["graphql-ws", "urql"])
async def test_a_front_end_s_client_goes_on_where_it_was_after_a_restart(
    settings: Settings, sessions: store.Sessions, kind: str, how: signal.Signals
) -> None:
    api = Api(settings, free_port())
    await api.start()
    try:
        async with script("clients.mjs", kind, api.url, "6") as lines:
            await keep(sessions, quote(at=1), quote(at=2))
            got = await cursors(lines, 2)

            await api.end(how)
            await keep(sessions, quote(at=3), quote(at=4))
            await api.start()
            got += await cursors(lines, 2)
            await keep(sessions, quote(at=5), quote(at=6))
            got += await cursors(lines, 2)
    finally:
        await api.end(signal.SIGTERM)

    assert got == [f"s{seq}" for seq in range(1, 7)]


async def told(page: Page, count: int) -> Any:
    """The cursors, when so many have come; the page's own policy lets it wait for nothing."""
    return await wait(lambda: page.evaluate("window.cursors"), lambda found: len(found) >= count)


@needs_browser
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_browser_s_own_event_source_goes_on_where_it_was_after_a_restart(
    settings: Settings, sessions: store.Sessions, how: signal.Signals
) -> None:
    port = free_port()
    api = Api(settings, port)
    await api.start()
    try:
        await wait(lambda: probe.answers("127.0.0.1", port, "/healthz"), bool)
        async with browsing() as browser, looking(browser, api.url) as (page, _):
            await page.goto("/")
            await page.evaluate(EVENTS, 'subscription { priceUpdates(after: "s0") { cursor } }')
            await keep(sessions, quote(at=1), quote(at=2))
            await told(page, 2)

            await api.end(how)
            await keep(sessions, quote(at=3), quote(at=4))
            await api.start()
            await told(page, 4)
            await keep(sessions, quote(at=5), quote(at=6))
            got = await told(page, 6)
    finally:
        await api.end(signal.SIGTERM)

    assert got == [f"s{seq}" for seq in range(1, 7)]
