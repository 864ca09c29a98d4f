"""Exports: how long a year of one ticker takes, what it costs, and whether others notice.

    python bench/export.py [--seconds 20] [--readers 2]

Starts a PostgreSQL and an API of its own. It downloads 525,600 quotes in each format, one after the
other, and samples the memory of the API's process; what a format costs is its CPU time, without
the database's. Then it takes the time from commits to their deliveries, as bench/lanes.py does:
first with nobody else there, then beside readers that download that year again and again, in all
formats, from an address each.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import aiohttp
import asyncpg
from lanes import api, beside, probe, report, until_ready

from quotes.database.sessions import Sessions, open_engine

QUOTES = 200_000  # of other tickers
FORMATS = ("csv", "jsonl", "parquet")
PIECE = 1 << 20  # bytes
SAMPLE = 0.02  # seconds between two looks at the memory
# Of a past that is not streamed, so that only what the probe commits is.
FILL = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT 'year_usd', minute, 100000 + (number * 7919 % 90000) * 0.01,
           minute + interval '1.234567 s', 'demo', 'BACKFILLED', $1 + number
    FROM generate_series('2025-01-01 00:00+00'::timestamptz, '2025-12-31 23:59+00', '1 minute')
         WITH ORDINALITY AS placed (minute, number)
"""


async def fill(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(FILL, QUOTES)
    await connection.execute("UPDATE high_water SET seq = (SELECT max(seq) FROM quotes)")
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


def memory(pid: int) -> float:
    """MiB that are resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def cpu(pid: int) -> float:
    """Seconds of the process itself; a Parquet writer is one of its own."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def download(http: aiohttp.ClientSession, url: str, form: str, **headers: str) -> int:
    """The bytes that come."""
    size = 0
    async with http.get(f"{url}/export/year_usd/2025.{form}", headers=headers) as response:
        response.raise_for_status()
        async for piece in response.content.iter_chunked(PIECE):
            size += len(piece)
    return size


async def measured(http: aiohttp.ClientSession, url: str, pid: int, form: str, coding: str) -> None:
    peak, before, spent = 0.0, memory(pid), cpu(pid)
    began = time.perf_counter()
    downloading = asyncio.create_task(download(http, url, form, **{"Accept-Encoding": coding}))
    while not downloading.done():
        peak = max(peak, memory(pid))
        await asyncio.sleep(SAMPLE)
    size, took = await downloading, time.perf_counter() - began
    print(
        f"  {form:<8} {coding:<9} {took:5.2f} s  {size / 1e6:6.1f} MB  "
        f"{cpu(pid) - spent:5.2f} s of CPU  {peak - before:+5.1f} MiB at the peak"
    )
    sys.stdout.flush()


async def read_again_and_again(url: str, readers: int) -> None:
    """Until SIGTERM; then print the times of whole downloads, in seconds, as JSON."""
    times: dict[str, list[float]] = {form: [] for form in FORMATS}
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print(flush=True)  # it has begun

    async def read(number: int) -> None:
        address = aiohttp.TCPConnector(local_addr=(f"127.0.1.{number + 1}", 0))
        async with aiohttp.ClientSession(connector=address, auto_decompress=False) as http:
            for form in cycle(FORMATS):
                began = time.perf_counter()
                await download(http, url, form)
                times[form].append(time.perf_counter() - began)

    reading = [asyncio.create_task(read(number)) for number in range(readers)]
    await stopped.wait()
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    print(json.dumps(times))


async def main(options: argparse.Namespace) -> None:
    async with api(QUOTES) as (database, url, pid), AsyncExitStack() as stack:
        await fill(database)
        await until_ready(url)
        http = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}")
        for form in FORMATS:
            await measured(http, url, pid, form, "identity")
        await measured(http, url, pid, "csv", "gzip")
        await measured(http, url, pid, "csv", "zstd")
        engine = await stack.enter_async_context(open_engine(database, name="bench"))
        sessions, seconds = Sessions(engine), options.seconds
        report("quiet", await probe(url, sessions, 0, seconds), {})
        command = (__file__, "--url", url, "--readers", str(options.readers))
        before = memory(pid)
        async with beside(*command) as seen:
            found = await probe(url, sessions, 100_000, seconds)
        report(f"beside {options.readers} readers of a year", found, seen)
        print(f"  memory {memory(pid) - before:+.1f} MiB; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(
            main(given) if given.url is None else read_again_and_again(given.url, given.readers)
        )
