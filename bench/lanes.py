"""The lanes of a web process: whether live quotes are delivered on time, whatever visitors do.

    python bench/lanes.py [--seconds 20] [--connections 256] [--replays 100] [--quotes 200000]

Starts a PostgreSQL and an API of its own, commits a quote every 100 ms, and takes the time from
the commit until a subscriber has it: first with nobody else there, then beside so many connections
that ask for a day of quotes again and again, then beside one socket with so many replays of the
whole log. Meanwhile `/healthz` and `/readyz` are asked every 100 ms. Whoever asks for days runs in
a process of its own and writes down what it was answered, and after how long.
"""

import argparse
import asyncio
import itertools
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from quotes.database.log import store
from quotes.database.maintenance import migrations
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions, open_engine
from quotes.local.embedded import Postgres
from quotes.server.process import listen

PACE = 0.1  # seconds between two commits, and between two questions about health
TICKERS = 20
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = '{ prices(ticker: "t1_usd", date: "2026-01-02") { nodes { at price } } }'
REPLAY = 'subscription { priceUpdates(after: "s0") { cursor price at } }'
LIVE = 'subscription { priceUpdates(tickers: ["live_usd"]) { at } }'
FILL = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT 't' || n % $2 || '_usd', $3::timestamptz + n / $2 * interval '1 minute', n, now(),
           'demo', 'LIVE', n
    FROM generate_series(1, $1) n
"""


@asynccontextmanager
async def api(quotes: int) -> AsyncIterator[tuple[str, str, int]]:
    """The URLs of a database with so many quotes, and of an API that serves them; its pid."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quotes-bench-")))
        folder.chmod(0o755)  # noqa: ASYNC240  # nothing else runs yet
        postgres = Postgres(folder / "postgres")
        await postgres.start()
        stack.push_async_callback(postgres.stop)
        await asyncio.to_thread(migrations.migrate, postgres.url, "0001")
        connection = await asyncpg.connect(postgres.url)
        await connection.execute(FILL, quotes, TICKERS, BEGIN)
        await connection.execute("UPDATE high_water SET seq = $1", quotes)
        await asyncio.to_thread(migrations.migrate, postgres.url)
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
        with listen("127.0.0.1", 0) as free:
            port = free.getsockname()[1]
        names = ",".join(["live_usd", *(f"t{number}_usd" for number in range(TICKERS))])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "quotes", "api"),
            env={
                **os.environ,
                "QUOTES_DATABASE_URL": postgres.url,
                "QUOTES_PORT": str(port),
                "QUOTES_TICKERS": names,
                "QUOTES_LOG_FORMAT": "json",
            },
        )
        stack.push_async_callback(ended, process)
        yield postgres.url, f"http://127.0.0.1:{port}", process.pid


async def ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    await process.wait()


class Probe:
    """What users see of the service for some seconds."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url = http, url
        self.committed: dict[str, float] = {}
        self.deliveries: list[float] = []
        self.health: dict[str, list[float]] = {"/healthz": [], "/readyz": []}
        self.unwell: Counter[str] = Counter()

    async def receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            received = time.perf_counter()
            body = json.loads(message.data)
            at = body["payload"]["data"]["priceUpdates"]["at"] if body["type"] == "next" else None
            if at in self.committed:
                self.deliveries.append(received - self.committed.pop(at))

    async def look(self, path: str) -> None:
        while True:
            began = time.perf_counter()
            async with self.http.get(self.url + path) as response:
                report = await response.json()
            self.health[path].append(time.perf_counter() - began)
            if response.status != 200:  # noqa: PLR2004
                bad = [name for name, part in report.items() if part is not True and _bad(part)]
                self.unwell[f"{path} {bad}"] += 1
            await asyncio.sleep(PACE)

    async def begun(self, sessions: Sessions, begin: int) -> None:
        """The subscription delivers; quotes before that are not counted."""
        async with asyncio.timeout(30):
            for number in itertools.count(1):
                await self.store(sessions, [live(begin - number)])
                await asyncio.sleep(PACE)
                if self.deliveries:
                    break
        self.committed.clear()
        self.deliveries.clear()

    async def commit(self, sessions: Sessions, begin: int, seconds: float) -> None:
        """A quote every PACE seconds."""
        for number in range(round(seconds / PACE)):
            await self.store(sessions, [live(begin + number)])
            await asyncio.sleep(PACE)
        await self.all_delivered()

    async def store(self, sessions: Sessions, quotes: Sequence[Quote]) -> None:
        """In one transaction; the time of their minute is when that began to commit."""
        async with sessions.begin() as session:
            await store.insert(session, quotes)
            self.committed[f"{quotes[0].minute:%Y-%m-%dT%H:%M:%SZ}"] = time.perf_counter()

    async def all_delivered(self) -> None:
        async with asyncio.timeout(30):
            while self.committed:  # noqa: ASYNC110  # the rest is on its way
                await asyncio.sleep(0.01)


def live(minute: int) -> Quote:
    return Quote(
        ticker="live_usd",
        minute=BEGIN + timedelta(minutes=minute),
        price=Decimal(abs(minute) + 1),
        observed_at=datetime.now(UTC),
        source="demo",
        origin=Origin.LIVE,
    )


def _bad(part: object) -> bool:
    return isinstance(part, dict) and part.get("ok") is False


async def probe(url: str, sessions: Sessions, begin: int, seconds: float) -> Probe:
    async with aiohttp.ClientSession() as http, subscribed(http, url, [LIVE]) as socket:
        seen = Probe(http, url)
        tasks = [
            asyncio.create_task(seen.receive(socket)),
            *(asyncio.create_task(seen.look(path)) for path in seen.health),
        ]
        try:
            await seen.begun(sessions, begin)
            await seen.commit(sessions, begin, seconds)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return seen


@asynccontextmanager
async def subscribed(
    http: aiohttp.ClientSession, url: str, documents: Sequence[str]
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with http.ws_connect(f"{url}/graphql", protocols=["graphql-transport-ws"]) as socket:
        await socket.send_json({"type": "connection_init"})
        await socket.receive_json()
        for number, document in enumerate(documents):
            payload = {"query": document}
            await socket.send_json({"id": str(number), "type": "subscribe", "payload": payload})
        yield socket


async def ask(url: str, connections: int, documents: Sequence[str]) -> None:
    """Each in turn, until SIGTERM; then print what was answered, and in which time, as JSON."""
    answers: dict[str, list[float]] = {}
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as http:

        async def request() -> None:
            for document in itertools.cycle(documents):
                began = time.perf_counter()
                async with http.post(f"{url}/graphql", json={"query": document}) as response:
                    body = await response.read()
                code = "answered" if response.status == 200 else _code(body)  # noqa: PLR2004
                answers.setdefault(code, []).append(time.perf_counter() - began)

        requesting = [asyncio.create_task(request()) for _ in range(connections)]
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        print(flush=True)  # it has begun
        await stopped.wait()
        for task in requesting:
            task.cancel()
        await asyncio.gather(*requesting, return_exceptions=True)
    print(json.dumps(answers))


def _code(body: bytes) -> str:
    return str(json.loads(body)["errors"][0]["extensions"]["code"])


async def replay(url: str, replays: int) -> None:
    """Read as fast as it comes, until SIGTERM; then print how many messages that was."""
    received = 0
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print(flush=True)  # it has begun
    async with aiohttp.ClientSession() as http, subscribed(http, url, [REPLAY] * replays) as socket:

        async def read() -> None:
            nonlocal received
            async for _ in socket:
                received += 1

        reader = asyncio.create_task(read())
        await stopped.wait()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    print(json.dumps({"messages": received}))


@asynccontextmanager
async def beside(*command: str) -> AsyncIterator[dict[str, Any]]:
    """Runs the load in a process of its own; what it saw is there when the block has ended."""
    seen: dict[str, Any] = {}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()  # it has begun
    try:
        yield seen
    finally:
        process.send_signal(signal.SIGTERM)
        written, _ = await process.communicate()
        seen.update(json.loads(written or b"{}"))


def line(times: list[float]) -> str:
    ordered = sorted(times)
    if not ordered:
        return "none"
    p50, p99 = (ordered[int(len(ordered) * part)] for part in (0.5, 0.99))
    return (
        f"p50 {p50 * 1e3:6.1f}  p99 {p99 * 1e3:6.1f}  max {ordered[-1] * 1e3:6.1f} ms"
        f"  of {len(ordered):,}"
    )


def report(title: str, probe: Probe, load: dict[str, Any]) -> None:
    print(f"\n{title}")
    print(f"  commit to delivery  {line(probe.deliveries)}")
    for path, times in probe.health.items():
        print(f"  {path:<19} {line(times)}")
    for what, many in probe.unwell.items():
        print(f"  not well            {what} {many} times")
    for code, seen in load.items():
        print(f"  {code:<19} {line(seen) if isinstance(seen, list) else f'{seen:,}'}")
    sys.stdout.flush()


async def main(options: argparse.Namespace) -> None:
    async with api(options.quotes) as (database, url, _), AsyncExitStack() as stack:
        await until_ready(url)
        engine = await stack.enter_async_context(open_engine(database, name="bench"))
        sessions, seconds = Sessions(engine), options.seconds
        report("quiet", await probe(url, sessions, 0, seconds), {})
        for at, (load, number, title) in enumerate(
            (
                ("days", options.connections, "connections that ask for a day"),
                ("replays", options.replays, f"replays of {options.quotes:,} quotes on a socket"),
            ),
            start=1,
        ):
            command = ("--load", load, "--number", str(number), "--url", url)
            async with beside(__file__, *command) as seen:
                found = await probe(url, sessions, 100_000 * at, seconds)
            report(f"beside {number} {title}", found, seen)


async def until_ready(url: str) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(60):
        while True:
            try:
                async with http.get(f"{url}/readyz") as response:
                    if response.status == 200:  # noqa: PLR2004
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--replays", type=int, default=100)
    parser.add_argument("--quotes", type=int, default=200_000)
    parser.add_argument("--load", choices=["days", "replays"], help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--documents", nargs="+", default=[DAY], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load == "days":
        asyncio.run(ask(given.url, given.number, given.documents))
    elif given.load == "replays":
        asyncio.run(replay(given.url, given.number))
    else:
        asyncio.run(main(given))
