"""Fan-out beside PostGraphile 5: the same table, the same inserts, one server after the other.

    (cd bench && npm ci --ignore-scripts)
    python bench/fanout.py [--rounds 3] [--subscribers 1000,5000]
        [--kinds one,spread,different] [--node /path/to/node]
    python bench/fanout.py --kinds sse,every
    python bench/fanout.py --alone 10000
    python bench/fanout.py --alone 25000 --processes 2

PostGraphile 5.1 wants Node 22 or newer. Each round starts a server, opens its subscribers in a
process of their own, and takes from the kernel's books what the server used. The last column of
each table shows how many times better this service does. Below it stands what the inserts alone
reach, on the same cores: no sustained rate exceeds that, so CPU a delivery says more. `sse`
compares this service's WebSocket with its server-sent events, and needs no Node; `every` does so
for subscribers to all tickers, of which each commit has a quote. `--alone` runs so many subscribers
of this service alone, spread evenly over its processes, with an event a second: a process needs as
many descriptors as it has subscribers (`ulimit -n`), on either side.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from quotes.api import cursors
from quotes.database.log import store, stream
from quotes.database.maintenance import migrations
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions, open_engine
from quotes.local.embedded import Postgres
from quotes.server.process import listen

HERE = Path(__file__).parent
WAVES = 9  # single commits, each awaited by all subscribers
SUSTAINED = 100_000
INSERTS = 200  # commits without a server
SPREAD = 20  # tickers
TICK = os.sysconf("SC_CLK_TCK")
TICKERS = [f"t{number}_usd" for number in range(SPREAD)]

# What PostGraphile's subscription listens to; in its favour the whole quote is in it.
NOTIFY = """
    CREATE FUNCTION notify_quote() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_notify('live:' || NEW.ticker, json_build_object('ticker', NEW.ticker,
            'price', NEW.price::text, 'at', NEW.minute, 'seq', NEW.seq)::text);
        RETURN NULL;
    END $$;
    CREATE TRIGGER notify_quote AFTER INSERT ON quotes FOR EACH ROW EXECUTE FUNCTION notify_quote();
    COMMENT ON TABLE quotes IS '@primaryKey ticker,minute'; -- each partition's, which it misses
"""

Subscription = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One of the two services."""

    name: str
    command: Callable[[int, str], list[str]]
    field: str  # of the quote's number in its answers
    # Of tickers, which are one for PostGraphile, an extra field, a cursor.
    subscription: Callable[[Sequence[str], str, str], Subscription]
    transport: str = "websocket"  # or sse


def ours(tickers: Sequence[str], extra: str, after: str) -> Subscription:
    query = (
        "subscription ($t: [Ticker!], $after: String) { priceUpdates(tickers: $t, after: $after) "
        f"{{ ticker price at cursor {extra} }} }}"
    )
    return {"query": query, "variables": {"t": list(tickers), "after": after}}


def theirs(field: str) -> Callable[[Sequence[str], str, str], Subscription]:
    def subscription(tickers: Sequence[str], extra: str, _after: str) -> Subscription:
        (ticker,) = tickers
        shown = {"priceUpdates": "at", "quoteUpdates": "at: minute"}[field]
        selected = f"{{ ticker price {shown} seq {extra} }}"
        query = f"subscription ($t: String!) {{ {field}(ticker: $t) {selected} }}"
        return {"query": query, "variables": {"t": ticker}}

    return subscription


def own(port: int, url: str) -> list[str]:
    return [sys.executable, "-m", "quotes", "api"]


def transports() -> list[Side]:
    return [
        Side("WebSocket", own, "cursor", ours),
        Side("server-sent events", own, "cursor", ours, transport="sse"),
    ]


def sides(node: str) -> list[Side]:
    def peer(port: int, url: str) -> list[str]:
        return [node, str(HERE / "postgraphile.mjs"), str(port), url]

    return [
        Side("this service", own, "cursor", ours),
        Side("PostGraphile 5", peer, "seq", theirs("quoteUpdates")),
        Side("PostGraphile 5, quote in NOTIFY", peer, "seq", theirs("priceUpdates")),
    ]


class Writer:
    """Keeps quotes as a worker would."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._minute = datetime(2026, 1, 1, tzinfo=UTC)

    async def insert(self, *tickers: str) -> None:
        self._minute += timedelta(minutes=1)
        quotes = [
            Quote(
                ticker=ticker,
                minute=self._minute,
                price=Decimal("100000.5"),
                observed_at=datetime.now(UTC),
                source="demo",
                origin=Origin.LIVE,
            )
            for ticker in tickers
        ]
        async with self._sessions.begin() as session:
            await store.insert(session, quotes)

    async def cursor(self) -> str:
        """Where the stream ends now."""
        async with self._sessions() as session:
            newest = await stream.end(session, upto=await store.high_water(session), limit=1)
        return cursors.stream(newest[0]) if newest else cursors.BEGINNING

    async def last(self) -> int:
        async with self._sessions() as session:
            return await store.high_water(session)


@asynccontextmanager
async def child(command: list[str], **more: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*command, limit=1 << 28, **more)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def served(side: Side, url: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    with listen("127.0.0.1", 0) as listener:
        port = int(listener.getsockname()[1])
    settings = {
        "QUOTES_DATABASE_URL": url,
        "QUOTES_PORT": str(port),
        "QUOTES_MAX_SOCKETS": "20000",
        "QUOTES_MAX_SOCKETS_PER_ADDRESS": "20000",
        "QUOTES_TICKERS": ",".join(TICKERS),
        "NODE_ENV": "production",
        "GRAPHILE_ENV": "production",
    }
    quiet = asyncio.subprocess.DEVNULL
    environment = {**os.environ, **settings}
    async with child(side.command(port, url), env=environment, stdout=quiet, stderr=quiet) as one:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, stream = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.1)
                else:
                    stream.close()
                    break
        await asyncio.sleep(2)  # what is loaded lazily is loaded before memory is measured
        yield one, port


class Listeners:
    """The subscribers' process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    async def request(self, line: str) -> dict[str, Any]:
        self._in.write(f"{line}\n".encode())
        answer: dict[str, Any] = json.loads(await self._out.readline())
        return answer


@asynccontextmanager
async def listening(
    port: int, side: Side, subscriptions: Sequence[Subscription], count: int
) -> AsyncIterator[Listeners]:
    arguments = (str(port), str(count), side.field, side.transport)
    command = [sys.executable, str(HERE / "listeners.py"), *arguments]
    pipe = asyncio.subprocess.PIPE
    async with child(command, stdin=pipe, stdout=pipe) as process:
        listeners = Listeners(process)
        await listeners.request(json.dumps(subscriptions))
        await asyncio.sleep(2)  # until the last one's subscription has begun
        yield listeners


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@dataclass(frozen=True)
class Scenario:
    """How many subscribers, and of what."""

    count: int
    tickers: Sequence[str]
    alike: bool = True
    every: bool = False  # each subscriber has all the tickers

    @property
    def deliveries(self) -> int:
        """Of a commit, which has a quote of each ticker."""
        return self.count * len(self.tickers) if self.every else self.count

    def __str__(self) -> str:
        what = "one ticker" if len(self.tickers) == 1 else f"spread over {len(self.tickers)}"
        if self.every:
            what = f"each of {len(self.tickers)} tickers"
        return f"{self.count:,} on {what}" + ("" if self.alike else ", all selections different")

    def subscriptions(self, side: Side, after: str) -> list[Subscription]:
        if not self.alike:
            ticker = self.tickers[:1]
            return [side.subscription(ticker, f"p{n}: price", after) for n in range(self.count)]
        if self.every:
            return [side.subscription(self.tickers, "", after)]
        return [side.subscription([ticker], "", after) for ticker in self.tickers]


Figures = dict[str, float]


async def measure(side: Side, scenario: Scenario, url: str, writer: Writer) -> Figures:
    """One server's round."""
    subscriptions = scenario.subscriptions(side, await writer.cursor())
    async with served(side, url) as (server, port):
        before = memory_kib(server.pid)
        async with listening(port, side, subscriptions, scenario.count) as listeners:
            await wave(writer, listeners, scenario)
            memory = (memory_kib(server.pid) - before) / scenario.count
            used = cpu_seconds(server.pid)
            waves = [await wave(writer, listeners, scenario) for _ in range(WAVES)]
            used = cpu_seconds(server.pid) - used
            sustained = await burst(writer, listeners, scenario, server.pid)
    lost = sum(each["lost"] for each in waves) + sustained.pop("lost")
    wrong = sum(each["wrong"] for each in waves) + sustained.pop("wrong")
    return {
        "last delivery, ms": median(each["last"] for each in waves) * 1e3,
        "CPU a delivery, us": used / (WAVES * scenario.deliveries) * 1e6,
        "memory a connection, KiB": memory,
        **sustained,
        "lost": lost,
        "duplicated or out of order": wrong,
    }


async def wave(writer: Writer, listeners: Listeners, scenario: Scenario) -> Figures:
    """One commit, from before it is made to the last subscriber's having it."""
    began = time.monotonic()
    await writer.insert(*scenario.tickers)
    report = await listeners.request(str(scenario.deliveries))
    return {
        "last": report["last_at"] - began,
        "lost": scenario.deliveries - report["arrived"],
        "wrong": report["wrong"],
    }


async def inserts(writer: Writer, scenario: Scenario) -> str:
    """What the sustained rate cannot exceed, whichever server: commits that no one listens to."""
    began = time.monotonic()
    for _ in range(INSERTS):
        await writer.insert(*scenario.tickers)
    rate = INSERTS / (time.monotonic() - began)
    most = rate * scenario.deliveries
    return f"Inserts alone: {rate:,.0f} commits a second, for {most:,.0f} deliveries at the most.\n"


async def burst(writer: Writer, listeners: Listeners, scenario: Scenario, pid: int) -> Figures:
    commits = max(SUSTAINED // scenario.deliveries, 5)
    used, began = cpu_seconds(pid), time.monotonic()
    for _ in range(commits):
        await writer.insert(*scenario.tickers)
    report = await listeners.request(str(commits * scenario.deliveries))
    used = cpu_seconds(pid) - used
    return {
        "deliveries a second, sustained": report["arrived"] / (report["last_at"] - began),
        "CPU a delivery, sustained, us": used / report["arrived"] * 1e6,
        "lost": commits * scenario.deliveries - report["arrived"],
        "wrong": report["wrong"],
    }


def table(scenario: Scenario, rounds: dict[str, list[Figures]]) -> str:
    """Markdown: medians of the rounds, and how many times better ours is than each other."""
    heads = "".join(f" {name} |" for name in rounds)
    lines = [
        f"**{scenario}**",
        "",
        f"| |{heads} better by |",
        "|---|" + "---:|" * (len(rounds) + 1),
    ]
    for name in next(iter(rounds.values()))[0]:
        mine, *others = (median(each[name] for each in side) for side in rounds.values())
        cells = "".join(f" {figure:,.1f} |" for figure in (mine, *others))
        better = [mine / each if "a second" in name else each / mine for each in others if mine]
        lines.append(f"| {name} |{cells} {', '.join(f'{each:.1f}' for each in better)} |")
    return "\n".join([*lines, ""])


@asynccontextmanager
async def started_listeners(
    url: str, subscriptions: Sequence[Subscription], count: int, processes: int
) -> AsyncIterator[tuple[list[Listeners], list[int]]]:
    """The subscribers of each of the service's processes, and the processes' ids."""
    side = transports()[0]
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(served(side, url)) for _ in range(processes)]
        listeners = [
            await stack.enter_async_context(listening(port, side, subscriptions, count))
            for _, port in servers
        ]
        yield listeners, [server.pid for server, _ in servers]


async def hold(url: str, writer: Writer, count: int, processes: int, seconds: int) -> str:
    subscriptions = [ours(TICKERS[:1], "", await writer.cursor())]
    each = count // processes
    async with started_listeners(url, subscriptions, each, processes) as (listeners, pids):
        began: dict[int, float] = {}
        for _ in range(seconds):
            due = time.monotonic() + 1
            began[await writer.last() + 1] = time.monotonic()
            await writer.insert(TICKERS[0])
            await asyncio.sleep(max(0, due - time.monotonic()))
        awaited = (every.request(str(each * seconds)) for every in listeners)
        answers = await asyncio.gather(*awaited)
        memory = sum(memory_kib(pid) for pid in pids) / 1024
    times = [(int(seq), *at) for answer in answers for seq, at in answer["at"].items()]
    delay = sum(total - many * began[seq] for seq, many, total, _ in times)
    arrived = sum(answer["arrived"] for answer in answers)
    return (
        f"{count:,} subscribers over {processes} processes, {seconds} events, one a second: "
        f"mean delivery {delay / arrived * 1e3:.0f} ms, "
        f"slowest {max(last - began[seq] for seq, _, _, last in times) * 1e3:.0f} ms, "
        f"lost {each * processes * seconds - arrived}, "
        f"duplicated {sum(answer['wrong'] for answer in answers)}, "
        f"closed {sum(answer['closed'] for answer in answers)}, memory {memory:,.0f} MiB in all"
    )


@asynccontextmanager
async def database() -> AsyncIterator[tuple[str, Writer]]:
    folder = Path(tempfile.mkdtemp(prefix="quotes-fanout-"))
    await asyncio.to_thread(folder.chmod, 0o755)  # its servers run as a user of their own
    server = Postgres(folder / "postgres", options={"fsync": "off", "synchronous_commit": "off"})
    await server.start()
    try:
        await asyncio.to_thread(migrations.migrate, server.url)
        connection = await asyncpg.connect(server.url)
        await connection.execute(NOTIFY)
        await connection.close()
        async with open_engine(server.url, name="fanout") as engine:
            yield server.url, Writer(Sessions(engine))
    finally:
        await server.stop()
        shutil.rmtree(folder)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--subscribers", default="1000,5000")
    parser.add_argument("--node", default=shutil.which("node") or "node")
    parser.add_argument("--kinds", default="one,spread,different")
    parser.add_argument("--alone", type=int, help="how many subscribers")
    parser.add_argument("--processes", type=int, default=1)
    return parser.parse_args()


async def main() -> None:
    arguments = parsed()
    others = sides(arguments.node)
    counts = [int(each) for each in arguments.subscribers.split(",")]
    scenarios = {
        "one": [Scenario(count, TICKERS[:1]) for count in counts],
        "spread": [Scenario(count, TICKERS) for count in counts],
        "different": [Scenario(counts[0], TICKERS[:1], alike=False)],
        "sse": [Scenario(count, TICKERS[:1]) for count in counts],
        "every": [Scenario(count, TICKERS, every=True) for count in counts],
    }
    async with database() as (url, writer):
        if arguments.alone:
            print(await hold(url, writer, arguments.alone, arguments.processes, 20))
            return
        for kind in arguments.kinds.split(","):
            compared = transports() if kind in {"sse", "every"} else others
            for scenario in scenarios[kind]:
                rounds: dict[str, list[Figures]] = {side.name: [] for side in compared}
                for _ in range(arguments.rounds):
                    for side in compared:
                        rounds[side.name].append(await measure(side, scenario, url, writer))
                print(table(scenario, rounds), flush=True)
                print(await inserts(writer, scenario), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its servers end with it
    asyncio.run(main())
