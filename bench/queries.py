"""Queries beside PostGraphile 5 and a bare endpoint: the same table, in one interleaved run.

    (cd bench && npm ci --ignore-scripts)
    python bench/queries.py [--rounds 5] [--seconds 3] [--node /path/to/node] [--only latest,pages]

PostGraphile 5.1 wants Node 22 or newer. Fills a database of its own with 100 days of minutes of 20
tickers, starts all servers, each on one core, and lets each answer each workload in turn. Their
answers are compared before and after. Prints the tables of docs/performance.md: medians of the
rounds, and ratios as medians of each round's. "uncached" is this service with a cache of no size.
CPU is that which the kernel counted for the server and for the database's processes.
"""

import argparse
import asyncio
import itertools
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median

from filled import filled
from sides import BARE, Client, Running, children, cpu, forget_peak, memory, running, sides, spent
from tables import CONNECTIONS, Figures, Measured, Rounds, costs, latencies, of_pages, rates
from workloads import Rows, Workload, Writer, pages, workloads


async def load(
    one: Running, workload: Workload, seconds: float, connections: int, database: int
) -> Figures:
    requests = itertools.cycle(one.side.requests(workload))
    took: list[float] = []
    before = cpu([one.pid]), cpu(children(database))
    began = time.perf_counter()

    async def client() -> None:
        async with Client(one.port) as client:
            while (start := time.perf_counter()) < began + seconds:
                await client.answer(next(requests))
                took.append(time.perf_counter() - start)

    await asyncio.gather(*(client() for _ in range(connections)))
    return {
        "rate": len(took) / (time.perf_counter() - began),
        "cpu": spent(before[0], [one.pid]) / len(took) * 1e6,
        "database": spent(before[1], children(database)) / len(took) * 1e6,
        **percentiles(took),
    }


def percentiles(took: list[float]) -> Figures:
    """In milliseconds."""
    took.sort()
    return {"p50": took[len(took) // 2] * 1e3, "p99": took[len(took) * 99 // 100] * 1e3}


async def rows(one: Running, workload: Workload) -> list[Rows]:
    """What a side answers to some of its requests, in the words of none."""
    found = []
    async with Client(one.port) as client:
        for request in one.side.requests(workload)[:11]:
            answer = json.loads(await client.answer(request))
            assert "errors" not in answer, answer
            found.append(workload.rows(answer.get("data", answer)))
    return found


async def compare(all_sides: Sequence[Running], workload: Workload) -> None:
    first, *others = [await rows(one, workload) for one in all_sides if one.side.requests(workload)]
    assert all(each == first for each in others), f"{workload.name}: the answers differ"


async def writing(writer: Writer, workload: Workload) -> None:
    while workload.writes is not None:
        await asyncio.sleep(1)
        await workload.writes(writer)


async def measure(
    all_sides: Sequence[Running], workload: Workload, writer: Writer, options: argparse.Namespace,
    database: int,
) -> Measured:  # fmt: skip
    taking_part = [one for one in all_sides if one.side.requests(workload)]
    await compare(taking_part, workload)
    measured: Measured = {}
    writes = asyncio.create_task(writing(writer, workload))
    for _ in range(options.rounds):
        for connections, one in itertools.product((1, CONNECTIONS), taking_part):
            figures = await load(one, workload, options.seconds, connections, database)
            measured.setdefault((one.side.name, connections), []).append(figures)
            progress(workload, one, connections, figures)
    writes.cancel()
    await asyncio.wait([writes])
    await asyncio.sleep(0.2)
    await compare(taking_part, workload)
    return measured


async def read_pages(
    all_sides: Sequence[Running], options: argparse.Namespace, database: int
) -> dict[str, Rounds]:
    """All pages by one client, again and again, beside others that request a newest price."""
    workload = pages()
    latest = next(each for each in workloads() if each.name == "latestPrice")
    taking_part = [one for one in all_sides if one.side.requests(latest) and one.side.name != BARE]
    before = {one.pid: forget_peak(one.pid) for one in taking_part}
    await compare(taking_part, workload)
    measured: dict[str, Rounds] = {}
    for _, one in itertools.product(range(options.rounds), taking_part):
        quiet = await load(one, latest, options.seconds, CONNECTIONS, database)
        reading = asyncio.create_task(times_of_pages(one, workload, options.seconds))
        beside = await load(one, latest, options.seconds, CONNECTIONS, database)
        figures = {
            "beside": median(await reading) * 1e3,
            "alone": median(await times_of_pages(one, workload, options.seconds)) * 1e3,
            "memory": (memory(one.pid, "VmHWM") - before[one.pid]) / 1024,
            "quiet p99": quiet["p99"],
            "p99": beside["p99"],
        }
        measured.setdefault(one.side.name, []).append(figures)
        progress(workload, one, 1, figures)
    return measured


async def times_of_pages(one: Running, workload: Workload, seconds: float) -> list[float]:
    """Seconds for all pages, one after the other, each time they were read."""
    took: list[float] = []
    began = time.perf_counter()
    async with Client(one.port) as client:
        while (start := time.perf_counter()) < began + seconds:
            for request in one.side.requests(workload):
                await client.answer(request)
            took.append(time.perf_counter() - start)
    return took


def progress(workload: Workload, one: Running, connections: int, figures: Figures) -> None:
    shown = ", ".join(f"{name} {value:,.2f}" for name, value in figures.items())
    print(f"{workload.name}, {one.side.name}, {connections}: {shown}", file=sys.stderr, flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", default="", help="words of the workloads' names")
    parser.add_argument("--node", default=shutil.which("node") or "node")
    return parser.parse_args()


async def main() -> None:
    given = options()
    words = given.only.split(",")
    cores = sorted(os.sched_getaffinity(0))
    async with filled() as (url, database, writer), AsyncExitStack() as stack:
        os.sched_setaffinity(0, set(cores[1:]) or set(cores))
        servers = [
            await stack.enter_async_context(running(side, url, cores[0]))
            for side in sides(given.node)
        ]
        found = {
            workload.name: await measure(servers, workload, writer, given, database)
            for workload in workloads()
            if any(word in workload.name for word in words)
        }
        if found:
            print(rates(found), costs(found), latencies(found), sep="\n")
        if any(word in pages().name for word in words):
            print(of_pages(await read_pages(servers, given, database)))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its servers end with it
    asyncio.run(main())
