"""Strangers who hold a server's connections, and whether anybody else notices.

    python bench/strangers.py [--seconds 60] [--silent 10000] [--quotes 200000]

Starts a PostgreSQL and an API of its own, with its default limits, and measures beside nobody, and
then beside all of these at once: 10,000 silent connections, 1,000 that send headers and 1,000 that
send a body, a byte a second, 500 event streams, 4 that send 64 MB of headers, and 16 that ask for
the dearest allowed operation without pause. They come from loopback addresses of their own, in a
process of their own, and come again when they were turned away. A third measurement begins when
they have been gone for a minute.
"""

import argparse
import asyncio
import itertools
import json
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from lanes import DAY, LIVE, PACE, Probe, api, beside, probe, report, until_ready

from quotes.database.sessions import Sessions, open_engine

SLOW, STREAMS, LARGE, DEAR = 1_000, 500, 4, 16
AN_ADDRESS = 400  # connections from each
RETURN = 5.0  # seconds until a stranger who was turned away comes again
GONE = 60  # seconds
HEADERS, PIECE = 64 << 20, 64 << 10  # bytes
HEAD = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
WEEK = 'from: "2026-01-01T00:00:00Z", to: "2026-01-08T00:00:00Z"'
YEAR = 'from: "2026-01-01T00:00:00Z", to: "2027-01-01T00:00:00Z"'
CANDIDATES = [
    DAY,
    '{ prices(ticker: "t1_usd", first: 10000) { nodes { at price cursor observedAt } } }',
    f'{{ candles(ticker: "t1_usd", interval: "1h", {YEAR}) {{ openTime open high low close }} }}',
    f'{{ candles(ticker: "t1_usd", interval: "5m", {WEEK}) {{ openTime open high low close }} }}',
    f'{{ series(ticker: "t1_usd", {YEAR}, maxPoints: 5000) {{ times prices }} }}',
    f'{{ gaps(ticker: "t1_usd", {YEAR}) {{ missing nodes {{ from to }} }} }}',
]


async def dearest(url: str) -> str:
    """The one of the candidates that is answered last."""
    took = {}
    async with aiohttp.ClientSession() as http:
        for document in CANDIDATES:
            begun = time.perf_counter()
            async with http.post(f"{url}/graphql", json={"query": document}) as response:
                whole = await response.json()
            if "errors" not in whole:
                took[document] = time.perf_counter() - begun
    document = max(took, key=took.__getitem__)
    print(f"the dearest allowed operation, {took[document] * 1e3:.0f} ms: {document}")
    return document


class Strangers:
    """Those of one process, until SIGTERM; what they were answered, by status."""

    def __init__(self, url: str, document: str) -> None:
        self._url, self._document = url, document
        self._port = urlsplit(url).port
        self._addresses: Iterator[str] = (
            f"127.0.{each // 250 + 1}.{each % 250 + 1}"
            for each in itertools.count()
            for _ in range(AN_ADDRESS)
        )
        self.answered: Counter[str] = Counter()

    async def run(self, silent: int) -> None:
        body = HEAD + b"Content-Length: 100000\r\n\r\n"
        large = b"a" * PIECE
        many: list[tuple[int, Callable[[str], Awaitable[None]]]] = [
            (STREAMS, self._events),
            (silent, partial(self._send, "silent", b"", b"", None)),
            (SLOW, partial(self._send, "slow headers", HEAD + b"X: ", b"a", 1)),
            (SLOW, partial(self._send, "slow body", body, b" ", 1)),
            (LARGE, partial(self._send, "64 MB of headers", HEAD + b"X: ", large, 0)),
            (DEAR, self._dear),
        ]
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        print(flush=True)  # it has begun
        tasks = [
            asyncio.create_task(self._again(what, next(self._addresses)))
            for number, what in many
            for _ in range(number)
        ]
        await stopped.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        print(json.dumps(self.answered))

    async def _again(self, what: Callable[[str], Awaitable[None]], address: str) -> None:
        await asyncio.sleep(random.uniform(0, RETURN))  # noqa: S311
        while True:
            with suppress(OSError, asyncio.IncompleteReadError, aiohttp.ClientError):
                await what(address)
            await asyncio.sleep(RETURN)

    @asynccontextmanager
    async def _connected(self, address: str) -> AsyncIterator[tuple[Any, Any]]:
        source = (address, 0)
        streams = await asyncio.open_connection("127.0.0.1", self._port, local_addr=source)
        try:
            yield streams
        finally:
            streams[1].close()

    async def _note(self, kind: str, reader: asyncio.StreamReader) -> str:
        """The status that it was answered."""
        line = b""
        with suppress(OSError):
            line = await reader.readline()
        status = line.split()[1].decode() if line else "closed"
        self.answered[f"{kind}: {status}"] += 1
        return status

    async def _send(  # all but the last are given beforehand
        self, kind: str, head: bytes, piece: bytes, pause: float | None, address: str
    ) -> None:
        async with self._connected(address) as (reader, writer):
            writer.write(head)
            note = asyncio.ensure_future(self._note(kind, reader))
            for _ in range(HEADERS // PIECE):
                writer.write(piece)
                await writer.drain()
                if (await asyncio.wait([note], timeout=pause))[0]:
                    break
            await note

    async def _events(self, address: str) -> None:
        async with self._connected(address) as (reader, writer):
            request = f"GET /graphql?query={quote(LIVE)} HTTP/1.1\r\nHost: localhost\r\n"
            writer.write(f"{request}Accept: text/event-stream\r\n\r\n".encode())
            if await self._note("event streams", reader) == "200":
                while await reader.read(PIECE):
                    pass

    async def _dear(self, address: str) -> None:
        connector = aiohttp.TCPConnector(local_addr=(address, 0))
        async with aiohttp.ClientSession(connector=connector) as http:
            for number in itertools.count():
                document = f"query Q{id(http)}_{number} {self._document}"  # never from the cache
                async with http.post(f"{self._url}/graphql", json={"query": document}) as response:
                    await response.read()
                self.answered[f"dearest: {response.status}"] += 1


async def ask(url: str, seen: dict[str, list[float]]) -> None:
    """An honest client's queries, and how long each took by its outcome."""
    async with aiohttp.ClientSession() as http:
        while True:
            begun = time.perf_counter()
            try:
                body = {"query": "{ latestPrices { ticker price } }"}
                async with http.post(f"{url}/graphql", json=body) as response:
                    await response.read()
                outcome = str(response.status)
            except aiohttp.ClientError as error:
                outcome = type(error).__name__
            seen.setdefault(f"honest: {outcome}", []).append(time.perf_counter() - begun)
            await asyncio.sleep(PACE)


class Usage:
    """Memory and open files of a process."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self.memory = self.files = 0  # the most so far; MB

    def look(self) -> int:
        """The files that are open now."""
        pages, files = (self._folder / "statm").read_text().split()[1], self._folder / "fd"
        self.memory = max(self.memory, int(pages) * 4 // 1024)
        self.files = max(self.files, count := len(list(files.iterdir())))
        return count

    async def watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(1)


async def measured(
    url: str, sessions: Sessions, usage: Usage, *, begin: int, seconds: float
) -> tuple[Probe, dict[str, Any]]:
    """What honest clients saw."""
    honest: dict[str, list[float]] = {}
    usage.memory = usage.files = 0
    tasks = [asyncio.create_task(usage.watch())]
    tasks += [asyncio.create_task(ask(url, honest)) for _ in range(8)]
    try:
        found = await probe(url, sessions, begin, seconds)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    used = {"MB of memory, most": usage.memory, "open files, most": usage.files}
    return found, {**honest, **used}


async def main(options: argparse.Namespace) -> None:
    async with api(options.quotes) as (database, url, pid), AsyncExitStack() as stack:
        await until_ready(url)
        engine = await stack.enter_async_context(open_engine(database, name="bench"))
        sessions, usage, seconds = Sessions(engine), Usage(pid), options.seconds
        document = await dearest(url)
        report("quiet", *await measured(url, sessions, usage, begin=0, seconds=20))
        command = (__file__, "--url", url, "--document", document)
        async with beside(*command, "--silent", str(options.silent)) as answered:
            for _ in range(600):  # until most are there
                if usage.look() > SLOW + STREAMS:
                    break
                await asyncio.sleep(0.1)
            found, seen = await measured(url, sessions, usage, begin=100_000, seconds=seconds)
        report("beside strangers", found, {**seen, **answered})
        await asyncio.sleep(GONE)
        last = await measured(url, sessions, usage, begin=200_000, seconds=5)
        report("a minute after they have gone", *last)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--silent", type=int, default=10_000)
    parser.add_argument("--quotes", type=int, default=200_000)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--document", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.url is None:
        asyncio.run(main(given))
    else:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        asyncio.run(Strangers(given.url, given.document).run(given.silent))
