"""JavaScript clients, as a front end uses them, through a restart of the service."""

import asyncio
import signal
from typing import Any

import pytest
from browser import browsing, looking, needs_browser
from node import needs_clients, script
from playwright.async_api import Page
from processes import Api, free_port
from rows import cursor, insert, quote, restore, seq_of, wait

from quotes.database.sessions import Sessions
from quotes.local import probe
from quotes.settings import Settings

EVENTS = """
    (query) => {
        window.cursors = [];
        window.errors = [];
        const source = new EventSource("/graphql?query=" + encodeURIComponent(query));
        source.addEventListener("next", (event) => {
            const { data, errors } = JSON.parse(event.data);
            if (errors) window.errors.push(errors[0].extensions.code);
            else window.cursors.push(data.priceUpdates.cursor);
        });
    }
"""


async def cursors(lines: asyncio.StreamReader, count: int) -> list[str]:
    async with asyncio.timeout(60):
        return [(await lines.readline()).decode().strip() for _ in range(count)]


@needs_clients
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("kind", ["graphql-ws", "urql"])
async def test_a_front_end_s_client_goes_on_where_it_was_after_a_restart(
    settings: Settings, sessions: Sessions, kind: str, how: signal.Signals
) -> None:
    api = Api(settings, free_port())
    await api.start()
    try:
        async with script("clients.mjs", kind, api.url, "6") as lines:
            await insert(sessions, quote(at=1), quote(at=2))
            got = await cursors(lines, 2)

            await api.end(how)
            await insert(sessions, quote(at=3), quote(at=4))
            await api.start()
            got += await cursors(lines, 2)
            await insert(sessions, quote(at=5), quote(at=6))
            got += await cursors(lines, 2)
    finally:
        await api.end(signal.SIGTERM)

    assert [seq_of(each) for each in got] == list(range(1, 7))


async def received(page: Page, count: int) -> Any:
    """The cursors, when so many have come; the page's own policy lets it wait for nothing."""
    return await wait(lambda: page.evaluate("window.cursors"), lambda found: len(found) >= count)


async def last_cursor(page: Page, expected: str) -> None:
    await wait(lambda: page.evaluate("window.cursors.at(-1)"), lambda last: last == expected)


@needs_browser
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_browser_s_own_event_source_goes_on_where_it_was_after_a_restart(
    settings: Settings, sessions: Sessions, how: signal.Signals
) -> None:
    port = free_port()
    api = Api(settings, port)
    await api.start()
    try:
        await wait(lambda: probe.answers("127.0.0.1", port, "/healthz"), bool)
        async with browsing() as browser, looking(browser, api.url) as (page, _):
            await page.goto("/")
            await page.evaluate(EVENTS, 'subscription { priceUpdates(after: "s0") { cursor } }')
            await insert(sessions, quote(at=1), quote(at=2))
            await received(page, 2)

            await api.end(how)
            await insert(sessions, quote(at=3), quote(at=4))
            await api.start()
            await received(page, 4)
            await insert(sessions, quote(at=5), quote(at=6))
            got = await received(page, 6)
    finally:
        await api.end(signal.SIGTERM)

    assert [seq_of(each) for each in got] == list(range(1, 7))


@needs_browser
async def test_a_browser_s_own_event_source_recovers_by_itself_from_a_restore_of_an_older_copy(
    settings: Settings, sessions: Sessions
) -> None:
    port = free_port()
    api = Api(settings, port)
    await api.start()
    try:
        await wait(lambda: probe.answers("127.0.0.1", port, "/healthz"), bool)
        async with browsing() as browser, looking(browser, api.url) as (page, _):
            await page.goto("/")
            await page.evaluate(EVENTS, "subscription { priceUpdates { cursor } }")
            await insert(sessions, *(quote(at=at) for at in range(5)))
            await last_cursor(page, cursor(5, quote(at=4)))

            await api.end(signal.SIGKILL)
            await restore(sessions, upto=2)
            newest = quote(at=9, price="7")
            await insert(sessions, *(quote(at=at, price="7") for at in range(2, 9)), newest)
            await api.start()

            await last_cursor(page, cursor(10, newest))
            reasons = await page.evaluate("window.errors")
            await insert(sessions, quote(at=10))
            await last_cursor(page, cursor(11, quote(at=10)))
    finally:
        await api.end(signal.SIGTERM)

    assert reasons == ["CURSOR_LOST"]
