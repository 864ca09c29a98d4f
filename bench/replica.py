"""What a read replica takes from the primary: queries of history, with and without one.

    python bench/replica.py [--rounds 3] [--seconds 5]

Fills a database as bench/queries does, makes a standby of it, and lets two API processes answer the
same in turns, uncached, while 20 prices are written each second: one reads from the primary alone.
Prints medians of the rounds: rates, and microseconds of CPU of an answer, as the kernel counted.
"""

import argparse
import asyncio
import itertools
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from urllib.parse import unquote, urlsplit

import asyncpg
from filled import filled
from sides import Client, Running, Side, children, cpu, get, post, running, spent
from tables import CONNECTIONS, Figures
from workloads import Workload, Writer, workloads

from quotes.local.binaries import PostgresPrograms
from quotes.local.embedded import Postgres

ALONE, BOTH = "the primary alone", "with a replica"
METRICS = 19_464  # the port
NAMES = ("a day's prices", "candles", "series")


class Standby(Postgres):
    """Its data is a base backup of the primary's, whose socket is in the folder `sockets_of`."""

    sockets_of: str

    async def _make_data(self, programs: PostgresPrograms) -> None:
        unfinished = self.folder / "data.new"
        command: list[str | Path] = [
            *(programs.folder / "pg_basebackup", "--host", self.sockets_of, "--username", "quotes"),
            *("--write-recovery-conf", "--checkpoint", "fast", "--pgdata", unfinished),
        ]
        await self._run_to_its_end(command)
        unfinished.rename(self._data)


@asynccontextmanager
async def standing_by(primary: str) -> AsyncIterator[Standby]:
    folder = Path(tempfile.mkdtemp(prefix="quotes-replica-"))
    await asyncio.to_thread(folder.chmod, 0o755)
    server = Standby(folder / "postgres", options={"fsync": "off", "hot_standby_feedback": "on"})
    server.sockets_of = unquote(urlsplit(primary).hostname or "")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        shutil.rmtree(folder)


async def load(one: Running, workload: Workload, seconds: float, servers: list[int]) -> Figures:
    """`servers` are the primary and the standby."""
    requests = itertools.cycle(one.side.requests(workload))
    before = cpu([one.pid]), *(cpu(children(server)) for server in servers)
    began, count = time.perf_counter(), 0
    reads = await replica_reads(one)

    async def client() -> None:
        nonlocal count
        async with Client(one.port) as client:
            while time.perf_counter() < began + seconds:
                await client.answer(next(requests))
                count += 1

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    used = [
        spent(before[0], [one.pid]),
        *(
            spent(since, children(server))
            for since, server in zip(before[1:], servers, strict=True)
        ),
    ]
    now = await replica_reads(one)
    shares = {server: count - reads[server] for server, count in now.items()}
    names = ("API", "primary", "standby")
    return {
        "rate": count / (time.perf_counter() - began),
        **{name: each / count * 1e6 for name, each in zip(names, used, strict=True)},
        "share": 100 * shares["replica"] / max(1, sum(shares.values())),
    }


async def replica_reads(one: Running) -> dict[str, float]:
    """What the process has read so far, by server."""
    if one.side.name == ALONE:
        return {"replica": 0, "primary": 0}
    async with Client(METRICS) as client:
        text = (await client.answer(get("/metrics"))).decode()
    found = re.findall(r'^quotes_replica_reads_total{server="(\w+)"} (\S+)', text, re.MULTILINE)
    return {server: float(count) for server, count in found}


async def usable(one: Running) -> None:
    """Wait until the replica is."""
    async with Client(one.port) as client, asyncio.timeout(60):
        while b'"usable":true' not in await client.answer(get("/readyz")):  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.1)


async def measure(
    sides: list[Running], workload: Workload, options: argparse.Namespace, servers: list[int]
) -> None:
    rounds: dict[str, list[Figures]] = {one.side.name: [] for one in sides}
    for _, one in itertools.product(range(options.rounds), sides):
        rounds[one.side.name].append(await load(one, workload, options.seconds, servers))
    for name, found in rounds.items():
        medians = {key: median(each[key] for each in found) for key in found[0]}
        figures = " | ".join(f"{medians[key]:,.0f}" for key in medians)
        print(f"| {workload.name} | {name} | {figures} |", flush=True)


async def commit_as_usual(primary: str) -> None:
    """Else a commit is written, and so sent to the standby, up to 200 ms later."""
    connection = await asyncpg.connect(primary)
    await connection.execute("ALTER DATABASE quotes SET synchronous_commit = on")
    await connection.close()


async def writing(writer: Writer) -> None:
    while True:
        await writer.minute()
        await asyncio.sleep(1)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    return parser.parse_args()


async def main() -> None:
    given = options()
    async with (
        filled() as (url, database, writer),
        standing_by(url) as standby,
        AsyncExitStack() as stack,
    ):
        assert standby.process is not None
        await commit_as_usual(url)
        uncached = {"QUOTES_ANSWER_CACHE": "0"}
        sides = [
            await stack.enter_async_context(running(side, url, 0))
            for side in (
                Side(ALONE, api, uncached, ours),
                Side(
                    BOTH,
                    api,
                    {
                        **uncached,
                        "QUOTES_REPLICA_URL": standby.url,
                        "QUOTES_METRICS_PORT": str(METRICS),
                    },
                    ours,
                ),
            )
        ]
        await usable(sides[1])
        writes = asyncio.create_task(writing(writer))
        print("| query | | answers a second | API | primary | standby | % read from the replica |")
        for workload in workloads():
            if workload.name.startswith(NAMES):
                await measure(sides, workload, given, [database, standby.process.child.pid])
        writes.cancel()
        await asyncio.wait([writes])


def api(port: int, url: str) -> list[str]:
    return [sys.executable, "-m", "quotes", "api"]


def ours(workload: Workload) -> list[bytes]:
    return [post(body) for body in workload.ours]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its servers end with it
    asyncio.run(main())
