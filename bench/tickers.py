"""Whether all tickers of the exchange fit into their minutes, and what that takes.

`QUOTES_TICKERS=all quotes up` into a database of its own, with a stand-in that lists 278 indexes,
for some whole minutes each at several latencies, by its WebSocket and without: beside the backfill
of all these tickers' history. `python bench/tickers.py --minutes 3`.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
from fanout import child

from quotes.local.embedded import Postgres
from quotes.server.process import listen
from workers.demo import market
from workers.demo.exchange import Exchange, serve

TICKERS = 278  # those of 20 September 2026
MINUTE = timedelta(minutes=1)
TICK = os.sysconf("SC_CLK_TCK")  # of /proc's CPU times, in a second
# By a word of its command: each process of ours, and all of the database's together.
PARTS = {
    "worker": ("workers.worker",),
    "API": ("quotes", "api"),
    "scheduler": ("workers.scheduler",),
    "database": ("postgres",),
    "queue": ("valkey-server",),
}
_COUNT = """
    SELECT minute, count(*) AS quotes, max(observed_at - minute) AS last
    FROM quotes WHERE origin = 'LIVE' AND minute >= $1 AND minute < $2 GROUP BY minute
"""


@dataclass
class Usage:
    """Of the processes of one part."""

    cpu: float = 0.0  # seconds
    memory: float = 0.0  # MB; what is shared counts once for each process


def exchange(latency: float, *, sockets: bool) -> Exchange:
    """With as many indexes as the real one."""
    made = Exchange(latency=latency, sockets=sockets)
    points = market.chart("btc_usd", "1h", datetime.now(UTC), 1)
    chart = "[" + ",".join(f"[{at},{market.text(price)}]" for at, price in points) + "]"
    for number in range(TICKERS - len(made.known())):
        name = f"t{number:03}_usdc"
        made.prices[name], made.charts[name] = f"{number + 1}.25", chart
    return made


def usage(root: int) -> dict[str, Usage]:
    """Of the descendants of a process, by their part."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                resident = int((entry / "statm").read_text().split()[1])
            except OSError:
                continue  # it has just ended
            cpu = (int(stat[11]) + int(stat[12])) / TICK
            parents[int(entry.name)] = int(stat[1]), command, cpu, resident
    found = {part: Usage() for part in PARTS}
    for process, (_, command, cpu, resident) in parents.items():
        part = part_of(command)
        if part is not None and descends(process, root, parents):
            found[part].cpu += cpu
            found[part].memory += resident * os.sysconf("SC_PAGE_SIZE") / 1e6
    return found


def part_of(command: str) -> str | None:
    words = command.replace("\0", " ").replace("/", " ").split()
    for part, needed in PARTS.items():
        if all(any(word.startswith(each) for word in words) for each in needed):
            return part
    return None


def descends(process: int, root: int, parents: dict[int, tuple[int, str, float, int]]) -> bool:
    while process in parents and process != root:
        process = parents[process][0]
    return process == root


def new_folder() -> Path:
    """One that the embedded servers' own user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="bench-tickers-"))
    folder.chmod(0o755)
    return folder


async def run(latency: float, minutes: int, *, sockets: bool) -> None:
    folder = new_folder()
    log = folder / "log"
    with listen("127.0.0.1", 0) as listener:
        port = int(listener.getsockname()[1])
    made = exchange(latency, sockets=sockets)
    async with serve(made) as url:
        environment = {
            **os.environ,
            "QUOTES_DATA_DIR": str(folder),
            "QUOTES_DERIBIT_URL": url,
            "QUOTES_TICKERS": "all",
            "QUOTES_PORT": str(port),
            "QUOTES_LOG_FORMAT": "json",
        }
        command = [sys.executable, "-m", "quotes", "up"]
        with log.open("wb") as output:
            async with child(command, env=environment, stdout=output, stderr=output) as up:
                begin = await first_minute(log)
                before, charts = usage(up.pid), made.requests["get_index_chart_data"]
                end = begin + minutes * MINUTE
                await asyncio.sleep((end - datetime.now(UTC)).total_seconds())
                after = usage(up.pid)
                charts = made.requests["get_index_chart_data"] - charts
                counted = await count(folder, begin, end)
        report(latency, sockets, counted, collections(log, begin, end), charts)
        for part, used in after.items():
            share = (used.cpu - before[part].cpu) / (minutes * 60)
            print(f"    {part:<10} {share:6.1%} of a core, {used.memory:5.0f} MB")
    shutil.rmtree(folder)


async def first_minute(log: Path) -> datetime:
    """The first whole one once everything runs; until then it is waited for."""
    async with asyncio.timeout(120):
        while not has_collected(log):  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.1)
    begin = datetime.now(UTC).replace(second=0, microsecond=0) + MINUTE
    await asyncio.sleep((begin - datetime.now(UTC)).total_seconds())
    return begin


def has_collected(log: Path) -> bool:
    return "minute_collected" in log.read_text()


async def count(folder: Path, begin: datetime, end: datetime) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(Postgres(folder / "demo" / "postgres").url)
    try:
        return list(await connection.fetch(_COUNT, begin, end))
    finally:
        await connection.close()


def collections(log: Path, begin: datetime, end: datetime) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [
        line
        for line in lines
        if line["event"] == "minute_collected"
        and begin <= datetime.fromisoformat(line["minute"]) < end
    ]


def report(
    latency: float,
    sockets: bool,  # noqa: FBT001  # as the title names it
    counted: list[asyncpg.Record],
    collected: list[dict[str, Any]],
    charts: int,
) -> None:
    kept, expected = sum(row["quotes"] for row in counted), TICKERS * len(collected)
    seconds = [each["seconds"] for each in collected]
    latest = max((row["last"] for row in counted), default=timedelta())
    print(
        f"{latency * 1_000:.0f} ms, {'WebSocket' if sockets else 'HTTP alone'}, "
        f"load average {os.getloadavg()[0]:.1f}: {kept:,} of {expected:,} quotes in "
        f"{len(collected)} minutes, collected in {median(seconds):.1f} s "
        f"(at most {max(seconds):.1f}), the last price {latest.total_seconds():.1f} s into its "
        f"minute, {charts} charts meanwhile"
    )


async def main(options: argparse.Namespace) -> None:
    for sockets in (True, False):
        for latency in options.latencies:
            await run(latency / 1_000, options.minutes, sockets=sockets)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=3, help="whole ones, of each row")
    parser.add_argument("--latencies", type=int, nargs="*", default=[50, 300, 600], help="in ms")
    asyncio.run(main(parser.parse_args()))
