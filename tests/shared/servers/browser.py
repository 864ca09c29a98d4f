"""A real browser, and what it must never do whatever a test does with it."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from paths import ROOT
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from quotes.server.pages import Site

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = ROOT / "quotes/web/node_modules/axe-core/axe.min.js"
SECONDS = 20  # that the thing waited for has, on a busy machine

expect.set_options(timeout=SECONDS * 1_000)

needs_pages = pytest.mark.skipif(not Site().built, reason="the pages were not built")
needs_browser = pytest.mark.skipif(
    not os.access(CHROMIUM, os.X_OK) or not Site().built,
    reason="Debian's chromium is not installed, or the pages were not built",
)


@dataclass
class Watch:
    """What a page requested, and its errors."""

    host: str
    requests: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"}:
            (self.requests if parts.netloc == self.host else self.elsewhere).append(url)

    def complaint(self, words: str, kind: str = "error") -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(words)


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Started once for a module's tests; each looks with a profile of its own."""
    async with browsing() as browser:
        yield browser


@asynccontextmanager
async def looking(
    browser: Browser, url: str, **options: object
) -> AsyncIterator[tuple[Page, Watch]]:
    """A fresh window of the service at `url`. It reaches no other host, whatever happens."""
    context = await browser.new_context(base_url=url, **options)  # type: ignore[arg-type]
    page = await context.new_page()
    page.set_default_timeout(SECONDS * 1_000)
    watch = Watch(urlsplit(url).netloc)
    page.on("request", lambda request: watch.request(request.url))
    page.on("websocket", lambda socket: watch.request(socket.url))
    page.on("console", lambda message: watch.complaint(message.text, message.type))
    page.on("pageerror", lambda error: watch.complaint(str(error)))
    try:
        yield page, watch
    finally:
        await context.close()
    assert watch.elsewhere == []


async def faults_of(page: Page) -> list[str]:
    """What axe-core finds serious or critical for people who cannot see or point."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run()")
    return [
        f"{each['id']}: {[node['target'] for node in each['nodes']]}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


def card(page: Page, ticker: str) -> Locator:
    return page.locator(f'#cards a[href="/{ticker}"]')


async def rows_of(page: Page) -> list[list[str]]:
    """The candles' table, newest first: time, open, high, low, close, minutes, note."""
    rows: list[list[str]] = await page.eval_on_selector_all(
        "#rows tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return rows


async def is_too_wide(page: Page) -> bool:
    """Whether something of the page lies beyond the window's edge."""
    wide = "Math.max(document.body.scrollWidth, document.documentElement.scrollWidth) > innerWidth"
    return bool(await page.evaluate(wide))
