"""What dropping old months costs those who read, write and follow meanwhile."""

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TypeVar

import aiohttp
import lanes
from answers import Served
from lanes import Probe, beside, subscribed
from workloads import DAY, QUARTER, TODAY, utc

from quotes.database.log.retention import expired, first_kept
from quotes.database.sessions import Sessions, open_engine
from workers.history import retention

PACE = 0.2  # seconds between two minutes that are stored
READERS = 2

Result = TypeVar("Result")


def documents(ticker: str) -> list[str]:
    quarter = f'ticker: "{ticker}", from: "{utc(QUARTER)}", to: "{utc(TODAY)}"'
    yesterday = (TODAY - DAY).date()
    return [
        f'{{ candles(interval: "1h", {quarter}) {{ openTime open high low close }} }}',
        f"{{ series({quarter}, maxPoints: 1000) {{ times prices }} }}",
        f"{{ gaps({quarter}) {{ expected present nodes {{ from to }} }} }}",
        f'{{ prices(ticker: "{ticker}", date: "{yesterday}") {{ nodes {{ at price }} }} }}',
        "{ latestPrices { ticker price at } }",
    ]


async def report(served: Served, keep: int, seconds: float) -> None:
    """Drop all months before the last `keep` ones, as a worker does; and what others saw."""
    ticker, folder = next(iter(served.database.listed)), served.database.folder
    async with open_engine(served.database.url, name="bench") as engine:
        sessions = Sessions(engine)
        await watched("before", served, sessions, ticker, asyncio.sleep(seconds))
        used = disk(folder)
        took = await watched("meanwhile", served, sessions, ticker, retired(sessions, keep))
    print(
        f"\n{len(took)} months dropped in {sum(took):.2f} s, each in {median(took) * 1e3:.0f} ms "
        f"(median), {max(took) * 1e3:.0f} at most; {(used - disk(folder)) / 1e9:.2f} GB freed of "
        f"{used / 1e9:.2f}",
        flush=True,
    )


async def retired(sessions: Sessions, keep: int) -> list[float]:
    """The seconds that each month took, the oldest first."""
    now, took = datetime.now(UTC), []
    async with sessions() as session:
        names = await expired(session, first_kept(now, keep))
    for months in range(keep + len(names) - 1, keep - 1, -1):
        began = time.perf_counter()
        await retention.retire(sessions, months, now=now)
        took.append(time.perf_counter() - began)
    return took


async def watched(
    title: str, served: Served, sessions: Sessions, ticker: str, work: Awaitable[Result]
) -> Result:
    """Does the work beside readers, a writer and a subscriber, and reports what they saw."""
    live = f'subscription {{ priceUpdates(tickers: ["{ticker}"]) {{ at }} }}'
    load = ("--load", "days", "--number", str(READERS), "--url", served.url, "--documents")
    writes: list[float] = []
    async with aiohttp.ClientSession() as http, subscribed(http, served.url, [live]) as socket:
        probe = Probe(http, served.url)

        stopped = asyncio.Event()

        async def write() -> None:
            while not stopped.is_set():
                began = time.perf_counter()
                await probe.store(sessions, served.writer.next_minute())
                writes.append(time.perf_counter() - began)
                await asyncio.sleep(PACE)

        others = [probe.receive(socket), *(probe.look(path) for path in probe.health)]
        tasks = [asyncio.create_task(each) for each in others]
        async with beside(lanes.__file__, *load, *documents(ticker)) as reads:
            writing = asyncio.create_task(write())
            result = await work
            await asyncio.sleep(1)  # for whoever waited
            stopped.set()
            await writing
        await probe.all_delivered()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    lanes.report(title, probe, {**reads, "a minute stored": writes})
    return result


def disk(folder: Path) -> int:
    """Bytes of the database's files."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("base/*/*"))
