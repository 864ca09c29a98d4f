"""The page with a card for each index of the exchange, as a viewer's browser has it.

    python bench/page.py [--cards 278] [--minutes 4] [--hours 4]

Starts a PostgreSQL with a day of minutes, an API and Debian's Chromium, and opens the page while
each minute's prices are committed, but for three that the exchange does not give. Measured are what
the first prices take after the HTML is here, long tasks (of over 50 ms, which hold up whatever the
viewer does) while it loads, is scrolled through and gets prices, the requests of each minute, and
at last the memory that hours of minutes leave, committed as fast as they can be.
"""

import argparse
import asyncio
import math
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
from lanes import ended
from playwright.async_api import Page, async_playwright

from quotes.database import minutes
from quotes.database.log import store
from quotes.database.maintenance import migrations
from quotes.database.models import Failure, Origin, Quote
from quotes.database.sessions import Sessions, open_engine
from quotes.local import probe
from quotes.local.embedded import Postgres
from quotes.market.sources import Cause
from quotes.server.process import listen

MINUTE = timedelta(minutes=1)
HISTORY = 1_600  # minutes
SILENT = {Cause.LOCKED: 5, Cause.FROZEN: 20, Cause.UNKNOWN_INDEX: 40}  # the places of three tickers
WINDOW = {"width": 1280, "height": 800}
FILL = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT ticker, minute,
           round((1000 * place * (1 + 0.05 * sin(extract(epoch FROM minute) / 9000 + place)
                  + 0.002 * sin(extract(epoch FROM minute) / 170 * place)))::numeric, 4),
           minute + interval '1.234567 s', 'demo', 'LIVE',
           row_number() OVER (ORDER BY minute, place)
    FROM generate_series($1::timestamptz, $2, interval '1 minute') AS minute,
         unnest($3::text[]) WITH ORDINALITY AS named (ticker, place)
"""
# Kept by the page itself: when the first and the last card had a price, and the long tasks.
OBSERVE = """
    window.seen = { tasks: [], first: 0, all: 0 };
    new PerformanceObserver((list) => {
      for (const { startTime, duration } of list.getEntries()) {
        window.seen.tasks.push([startTime, duration]);
      }
    }).observe({ type: "longtask", buffered: true });
    const look = () => {
      const prices = [...document.querySelectorAll("#cards .price")];
      const shown = prices.filter((each) => each.textContent !== "");
      if (shown.length > 0) window.seen.first ||= performance.now();
      if (shown.length >= CARDS) window.seen.all ||= performance.now();
      if (!window.seen.all) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
"""
PAINTS = """() => ({
    html: performance.getEntriesByType("navigation")[0].responseEnd,
    paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
    height: document.documentElement.scrollHeight,
    ...window.seen,
})"""


def names(count: int) -> list[str]:
    kinds = ("usd", "usdc", "usdt")
    return sorted(f"coin{number // 3:03}_{kinds[number % 3]}" for number in range(count))


class Market:
    """Commits each minute's prices."""

    def __init__(self, sessions: Sessions, tickers: list[str], end: datetime) -> None:
        self._sessions = sessions
        self._places = dict(zip(tickers, range(1, len(tickers) + 1), strict=True))
        self._silent = {tickers[at % len(tickers)]: cause for cause, at in SILENT.items()}
        self._end = end

    async def minute(self) -> datetime:
        self._end += MINUTE
        async with self._sessions.begin() as session:
            await store.insert(
                session,
                [self._quote(name) for name in self._places if name not in self._silent],
            )
            await minutes.record_failures(session, [self._failure(each) for each in self._silent])
        return self._end

    def _quote(self, ticker: str) -> Quote:
        place, seconds = self._places[ticker], self._end.timestamp()
        wave = (
            1 + 0.05 * math.sin(seconds / 9_000 + place) + 0.002 * math.sin(seconds / 170 * place)
        )
        return Quote(
            ticker=ticker,
            minute=self._end,
            price=Decimal(f"{1_000 * place * wave:.4f}"),
            observed_at=datetime.now(UTC),
            source="demo",
            origin=Origin.LIVE,
        )

    def _failure(self, ticker: str) -> Failure:
        return Failure(
            ticker=ticker,
            minute=self._end,
            cause=self._silent[ticker],
            message=f"{ticker}: no price.",
            failed_at=datetime.now(UTC),
            attempts=1,
        )

    async def each_minute(self) -> None:
        while True:
            await asyncio.sleep(62 - time.time() % 60)
            await self.minute()


@asynccontextmanager
async def service(tickers: list[str]) -> AsyncIterator[tuple[str, Market]]:
    """An API's URL, and the market behind it."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quotes-bench-")))
        folder.chmod(0o755)  # noqa: ASYNC240  # nothing else runs yet
        postgres = Postgres(folder / "postgres", options={"synchronous_commit": "off"})
        await postgres.start()
        stack.push_async_callback(postgres.stop)
        await asyncio.to_thread(migrations.migrate, postgres.url, "0001")
        end = datetime.now(UTC).replace(second=0, microsecond=0)
        connection = await asyncpg.connect(postgres.url)
        await connection.execute(FILL, end - HISTORY * MINUTE, end, tickers)
        await connection.execute("UPDATE high_water SET seq = (SELECT max(seq) FROM quotes)")
        await asyncio.to_thread(migrations.migrate, postgres.url)
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
        with listen("127.0.0.1", 0) as free:
            port = free.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "quotes", "api"),
            env={
                **os.environ,
                "QUOTES_DATABASE_URL": postgres.url,
                "QUOTES_PORT": str(port),
                "QUOTES_TICKERS": ",".join(tickers),
                "QUOTES_LOG_FORMAT": "json",
                "QUOTES_LOG_LEVEL": "warning",
            },
        )
        stack.push_async_callback(ended, process)
        async with asyncio.timeout(60):
            while not await probe.answers("127.0.0.1", port, "/healthz"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        engine = await stack.enter_async_context(open_engine(postgres.url, name="bench"))
        yield f"http://127.0.0.1:{port}", Market(Sessions(engine), tickers, end)


class Requests:
    """By the minute since the page was opened, and by the operation."""

    def __init__(self, page: Page) -> None:
        self._began = time.monotonic()
        self.minutes: Counter[int] = Counter()
        self.operations: Counter[str] = Counter()
        page.on("request", self._request)

    def _request(self, request: Any) -> None:
        if request.method == "POST":
            self.minutes[int((time.monotonic() - self._began) // 60)] += 1
            self.operations[request.post_data_json["query"].split()[1].split("(")[0]] += 1


async def memory(page: Page) -> str:
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    await session.send("Performance.enable")
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    found = {each["name"]: each["value"] for each in metrics}
    return f"{found['JSHeapUsedSize'] / 1e6:.1f} MB of JavaScript, {found['Nodes']:.0f} nodes"


async def long_tasks(page: Page, since: float = 0) -> str:
    tasks = [each for at, each in await page.evaluate("window.seen.tasks") if at >= since]
    return f"{len(tasks)} long tasks, the longest {max(tasks, default=0):.0f} ms"


async def now(page: Page) -> float:
    return float(await page.evaluate("performance.now()"))


async def scroll(page: Page) -> None:
    await page.mouse.move(WINDOW["width"] / 2, WINDOW["height"] / 2)
    height = await page.evaluate("document.documentElement.scrollHeight")
    for step in (200, -400):
        for _ in range(height // abs(step)):
            await page.mouse.wheel(0, step)
            await asyncio.sleep(0.03)


async def watch(page: Page, url: str, market: Market, cards: int, options: Any) -> None:
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    requests = Requests(page)
    await page.add_init_script(OBSERVE.replace("CARDS", str(cards)))
    await page.goto(url)
    async with asyncio.timeout(120):
        while not await page.evaluate("window.seen.all"):  # noqa: ASYNC110  # the page's own CSP
            await asyncio.sleep(0.1)
    await asyncio.sleep(5)
    found = await page.evaluate(PAINTS)
    for name in ("paint", "first", "all"):
        print(f"{name} after the HTML: {found[name] - found['html']:.0f} ms")
    print(f"height: {found['height']:,} px")
    print(f"loading: {await long_tasks(page)}; {await memory(page)}")
    begun = await now(page)
    await scroll(page)
    print(f"scrolling through and back: {await long_tasks(page, begun)}; {await memory(page)}")
    begun = await now(page)
    coming = asyncio.create_task(market.each_minute())
    await asyncio.sleep(options.minutes * 60)
    coming.cancel()
    print(f"{options.minutes} minutes of prices: {await long_tasks(page, begun)}")
    print(f"requests of each minute: {[requests.minutes[each] for each in range(options.minutes)]}")
    print(f"and by their operations: {dict(requests.operations)}")
    for number in range(options.hours * 60):
        at = await market.minute()
        if number % 60 == 59:  # noqa: PLR2004  # an hour is over
            await asyncio.sleep(3)
            print(f"up to {at:%H:%M}: {await memory(page)}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")


async def main(options: argparse.Namespace) -> None:
    tickers = names(options.cards)
    async with service(tickers) as (url, market), async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium") or "/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-quic"],
        )
        context = await browser.new_context(viewport=WINDOW)  # type: ignore[arg-type]
        await watch(await context.new_page(), url, market, options.cards, options)
        await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cards", type=int, default=278)
    parser.add_argument("--minutes", type=int, default=4)
    parser.add_argument("--hours", type=int, default=4)
    asyncio.run(main(parser.parse_args()))
