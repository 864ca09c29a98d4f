"""The servers that bench/queries compares, each in a process of its own on one core."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fanout import child
from workloads import TICKERS, Body, Workload

from quotes.server.process import listen

HERE = Path(__file__).parent
OURS, UNCACHED, THEIRS, BARE = "this service", "uncached", "PostGraphile 5", "bare endpoint"
# This service as it is while its feed cannot read the log.
WITHOUT_FEED = """
import runpy
from quotes.live.feed import Feed

async def current(feed, within):
    return False

Feed.current, Feed.is_current = current, lambda feed, within: False
runpy.run_module("quotes", run_name="__main__")
"""


@dataclass(frozen=True)
class Side:
    """One of the servers."""

    name: str
    command: Callable[[int, str], list[str]]
    settings: dict[str, str]
    requests: Callable[[Workload], Sequence[bytes]]


def post(body: Body) -> bytes:
    text = json.dumps(body).encode()
    return (
        b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Accept: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
    )


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def sides(node: str) -> list[Side]:
    def api(port: int, url: str) -> list[str]:
        return [sys.executable, "-m", "quotes", "api"]

    def without_feed(port: int, url: str) -> list[str]:
        return [sys.executable, "-c", WITHOUT_FEED, "api"]

    def peer(port: int, url: str) -> list[str]:
        return [node, str(HERE / "postgraphile.mjs"), str(port), url]

    def bare(port: int, url: str) -> list[str]:
        return [sys.executable, str(HERE / "bare.py"), str(port), url]

    def ours(workload: Workload) -> list[bytes]:
        return [post(body) for body in workload.ours if workload.feed]

    def from_database(workload: Workload) -> list[bytes]:
        return [post(body) for body in workload.ours if not workload.feed]

    def theirs(workload: Workload) -> list[bytes]:
        return [post(body) for body in workload.theirs]

    def paths(workload: Workload) -> list[bytes]:
        return [get(path) for path in workload.bare]

    return [
        Side(OURS, api, {}, ours),
        Side(OURS, without_feed, {}, from_database),
        Side(UNCACHED, api, {"QUOTES_ANSWER_CACHE": "0"}, ours),
        Side(THEIRS, peer, {}, theirs),
        Side(BARE, bare, {}, paths),
    ]


@dataclass(frozen=True)
class Running:
    """A side's process."""

    side: Side
    pid: int
    port: int


@asynccontextmanager
async def running(side: Side, url: str, core: int) -> AsyncIterator[Running]:
    with listen("127.0.0.1", 0) as listener:
        port = int(listener.getsockname()[1])
    settings = {
        "QUOTES_DATABASE_URL": url,
        "QUOTES_PORT": str(port),
        "QUOTES_TICKERS": ",".join(TICKERS),
        "QUOTES_QUERY_WAIT": "30",  # none is refused, however slow the machine
        "NODE_ENV": "production",
        "GRAPHILE_ENV": "production",
    }
    quiet = asyncio.subprocess.DEVNULL
    environment = {**os.environ, **settings, **side.settings}
    async with child(side.command(port, url), env=environment, stdout=quiet, stderr=quiet) as one:
        os.sched_setaffinity(one.pid, {core})
        async with asyncio.timeout(60):
            while not await listens(port):  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.1)
        await asyncio.sleep(2)  # what is loaded lazily
        yield Running(side, one.pid, port)


async def listens(port: int) -> bool:
    try:
        _, stream = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    stream.close()
    return True


def cpu(pids: Sequence[int]) -> dict[int, float]:
    """Seconds that each of these processes has spent computing, all its threads together."""
    threads = {pid: Path(f"/proc/{pid}/task").glob("*/schedstat") for pid in pids}
    return {pid: sum(map(computed, of_pid)) / 1e9 for pid, of_pid in threads.items()}


def computed(thread: Path) -> int:
    """Nanoseconds; 0 for a thread that has ended."""
    try:
        return int(thread.read_text().split()[0])
    except OSError:
        return 0


def spent(since: dict[int, float], pids: Sequence[int]) -> float:
    """Seconds since then; what has ended meanwhile counts for nothing."""
    return sum(max(0.0, seconds - since.get(pid, 0.0)) for pid, seconds in cpu(pids).items())


def forget_peak(pid: int) -> int:
    """KiB of memory that a process has; its peak is counted from here on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory(pid, "VmRSS")


def memory(pid: int, kind: str) -> int:
    """KiB, as Linux counts: VmRSS has it now, VmHWM at its peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{kind}:")[2].split()[0])


def children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[1]) == parent:
            found.append(int(status.parent.name))
    return found


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, limit=1 << 24
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def answer(self, request: bytes) -> bytes:
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        assert b" 200 " in head.partition(b"\r\n")[0], head
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return await self._reader.readexactly(length)
