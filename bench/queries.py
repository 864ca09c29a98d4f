"""Queries beside PostGraphile 5 and a bare endpoint: the same table, in one interleaved run.

    (cd bench && npm ci --ignore-scripts)
    python bench/queries.py [--rounds 5] [--seconds 3] [--node /path/to/node] [--only latest,day]

PostGraphile 5.1 wants Node 22 or newer. Fills a database of its own with 100 days of minutes of 20
tickers, starts all servers, each on one core, and lets each answer each workload in turn. Their
answers are compared before and after. "this service, uncached" is the same process with a cache of
no size. CPU is that which the kernel counted for the server and for the database's processes.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, Self

import asyncpg
from fanout import child

from quotes.database import migrations, store
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions, open_engine
from quotes.local.embedded import Postgres
from quotes.server.process import listen

HERE = Path(__file__).parent
TICKERS = [f"t{number:02}_usd" for number in range(20)]
DAYS = 100
CONNECTIONS = 16
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
QUARTER = TODAY - 90 * DAY

FILL = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT ticker, minute,
           round((100000 + 900 * sin(extract(epoch FROM minute) / 9000 + place))::numeric, 2),
           minute + interval '1.234567 s', 'demo', 'LIVE',
           row_number() OVER (ORDER BY minute, place)
    FROM generate_series($1::timestamptz, $2, interval '1 minute') AS minute,
         unnest($3::text[]) WITH ORDINALITY AS named (ticker, place)
"""
# What PostGraphile is asked by, so that both ask for the same rows in one statement.
FUNCTIONS = """
    CREATE FUNCTION newest_quotes(tickers text[]) RETURNS SETOF quotes LANGUAGE sql STABLE AS $$
        SELECT one.* FROM unnest(tickers) AS wanted (name), LATERAL (
            SELECT * FROM quotes WHERE ticker = name ORDER BY minute DESC LIMIT 1) AS one
    $$;
    CREATE FUNCTION quotes_between(name text, since timestamptz, until timestamptz, most int)
    RETURNS SETOF quotes LANGUAGE sql STABLE AS $$
        SELECT * FROM quotes WHERE ticker = name AND minute >= since AND minute < until
        ORDER BY minute LIMIT most
    $$;
    CREATE FUNCTION hours_between(name text, since timestamptz, until timestamptz)
    RETURNS SETOF hours LANGUAGE sql STABLE AS $$
        SELECT * FROM hours WHERE ticker = name AND hour >= since AND hour < until ORDER BY hour
    $$;
"""

Body = dict[str, Any]
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Workload:
    """Requests for the same on all sides, and the rows that an answer of any of them holds."""

    name: str
    ours: Sequence[Body]
    theirs: Sequence[Body]
    rows: Callable[[Any], Rows]  # of an answer's data, from whichever side
    bare: Sequence[str] = ()  # paths
    writes: Callable[["Writer"], Any] | None = None  # once a second meanwhile


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def nodes_of(data: Any) -> list[dict[str, Any]]:
    found = next(iter(data.values())) if isinstance(data, dict) else data
    if isinstance(found, dict):
        found = found.get("nodes", [found])
    return list(found)


def quotes(data: Any) -> Rows:
    nodes = nodes_of(data)
    return [(time_of(each.get("at") or each["minute"]), Decimal(each["price"])) for each in nodes]


def candles(data: Any) -> Rows:
    names = ("open", "high", "low", "close")
    return [
        (time_of(each.get("openTime") or each["hour"]), *(Decimal(each[name]) for name in names))
        for each in nodes_of(data)
    ]


def utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


LATEST = "query ($t: Ticker!) { latestPrice(ticker: $t) { ticker price at observedAt } }"
THEIR_LATEST = """
    query ($t: [String]) { newestQuotes(tickers: $t) { nodes { ticker price minute observedAt } } }
"""
LATESTS = "query ($t: [Ticker!]) { latestPrices(tickers: $t) { ticker price at observedAt } }"
DAY_OF = """
    query ($t: Ticker!, $d: Date!) { prices(ticker: $t, date: $d) { nodes { at price cursor } } }
"""
THEIR_SPAN = """
    query ($t: String!, $a: Datetime!, $b: Datetime!, $n: Int!) {
      quotesBetween(name: $t, since: $a, until: $b, most: $n) { nodes { minute price seq } } }
"""
PAGES = """
    query ($t: Ticker!, $a: DateTime!, $b: DateTime!) {
      prices(ticker: $t, from: $a, to: $b, first: 10000) { nodes { at price cursor } } }
"""
CANDLES = """
    query ($t: Ticker!, $a: DateTime!, $b: DateTime!) {
      candles(ticker: $t, interval: "1h", from: $a, to: $b) {
        openTime open high low close count } }
"""
THEIR_HOURS = """
    query ($t: String!, $a: Datetime!, $b: Datetime!) {
      hoursBetween(name: $t, since: $a, until: $b) { nodes { hour open high low close count } } }
"""
SERIES = """
    query ($t: Ticker!, $a: DateTime!, $b: DateTime!) {
      series(ticker: $t, from: $a, to: $b, maxPoints: 1000) { times prices count } }
"""


def body(query: str, **variables: object) -> Body:
    return {"query": query, "variables": variables}


def day(ticker: str, since: datetime) -> tuple[Body, Body, str]:
    span = {"t": ticker, "a": utc(since), "b": utc(since + DAY), "n": 1_440}
    bare = f"/day?ticker={ticker}&day={since.date()}"
    return body(DAY_OF, t=ticker, d=str(since.date())), body(THEIR_SPAN, **span), bare


def workloads() -> list[Workload]:
    one = TICKERS[3]
    days = [day(name, TODAY - n * DAY) for name in TICKERS for n in range(1, 91)]
    random.Random(1).shuffle(days)  # noqa: S311  # no secret
    closed, today = day(one, TODAY - 5 * DAY), day(one, TODAY)
    starts = [QUARTER + n * 10_000 * MINUTE for n in range(11)]
    ends = [min(start + 10_000 * MINUTE, QUARTER + 100_800 * MINUTE) for start in starts]
    spans = [
        {"t": one, "a": utc(since), "b": utc(until)}
        for since, until in zip(starts, ends, strict=True)
    ]
    quarter = {"t": one, "a": utc(QUARTER), "b": utc(TODAY)}
    latest = body(LATEST, t=one), body(THEIR_LATEST, t=[one]), f"/latest?ticker={one}"
    many = ",".join(TICKERS)
    return [
        Workload("__typename", [body("{ __typename }")], [body("{ __typename }")], typename),
        Workload("latestPrice", [latest[0]], [latest[1]], quotes, [latest[2]]),
        Workload(
            "latestPrice, 20 prices written each second",
            [latest[0]], [latest[1]], quotes, [latest[2]], Writer.minute,
        ),
        Workload(
            "latestPrices of 20",
            [body(LATESTS, t=TICKERS)], [body(THEIR_LATEST, t=TICKERS)], quotes,
            [f"/latest?ticker={many}"],
        ),
        Workload("a day's prices, one of 1,800 days each time", *columns(days)),
        Workload("today's prices, growing each second", *columns([today]), Writer.minute),
        Workload("a closed day, a late row each second", *columns([closed]), Writer.late),
        Workload(
            "100,800 quotes in 11 pages, each a request",
            [body(PAGES, **span) for span in spans],
            [body(THEIR_SPAN, **span, n=10_000) for span in spans],
            quotes,
        ),
        Workload(
            "candles, 1h over 90 days", [body(CANDLES, **quarter)],
            [body(THEIR_HOURS, **quarter)], candles,
        ),
        Workload(
            "series, 90 days in 1,000 points (PostGraphile: the hours)",
            [body(SERIES, **quarter)], [body(THEIR_HOURS, **quarter)], lambda _: [],
        ),
    ]  # fmt: skip


def typename(data: Any) -> Rows:
    return [(data["__typename"],)]


def columns(
    days: Sequence[tuple[Body, Body, str]],
) -> tuple[list[Body], list[Body], Callable[[Any], Rows], list[str]]:
    ours, theirs, bare = (list(each) for each in zip(*days, strict=True))
    return ours, theirs, quotes, bare


class Writer:
    """Stores quotes as a worker would."""

    def __init__(self, sessions: Sessions, end: datetime) -> None:
        self._sessions = sessions
        self._end = end
        self._late = itertools.count()

    async def minute(self) -> None:
        self._end += MINUTE
        await self._store([self._quote(ticker, self._end, Origin.LIVE) for ticker in TICKERS])

    async def late(self) -> None:
        """A minute that was missing; see `database`."""
        missing = TODAY - 5 * DAY + next(self._late) * MINUTE
        await self._store([self._quote(TICKERS[3], missing, Origin.REPAIRED)])

    def _quote(self, ticker: str, minute: datetime, origin: Origin) -> Quote:
        return Quote(
            ticker=ticker, minute=minute, price=Decimal("100000.5"), source="demo",
            observed_at=minute + timedelta(seconds=1), origin=origin,
        )  # fmt: skip

    async def _store(self, quotes: list[Quote]) -> None:
        async with self._sessions.begin() as session:
            await store.insert(session, quotes)


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

    def peer(port: int, url: str) -> list[str]:
        return [node, str(HERE / "postgraphile.mjs"), str(port), url]

    def bare(port: int, url: str) -> list[str]:
        return [sys.executable, str(HERE / "bare.py"), str(port), url]

    def ours(workload: Workload) -> list[bytes]:
        return [post(body) for body in workload.ours]

    def theirs(workload: Workload) -> list[bytes]:
        return [post(body) for body in workload.theirs]

    def paths(workload: Workload) -> list[bytes]:
        return [get(path) for path in workload.bare]

    return [
        Side("this service", api, {}, ours),
        Side("uncached", api, {"QUOTES_ANSWER_CACHE": "0"}, ours),
        Side("PostGraphile 5", peer, {}, theirs),
        Side("bare", bare, {}, paths),
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
            while not await listens(port):  # noqa: ASYNC110  # nothing tells of it
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


def cpu(pids: Sequence[int]) -> float:
    """Seconds that these processes have spent computing, all their threads together."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(task.read_text().split()[0])
    return total / 1e9


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


Figures = dict[str, float]


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
    spent = cpu([one.pid]) - before[0], cpu(children(database)) - before[1]
    took.sort()
    return {
        "rate": len(took) / (time.perf_counter() - began),
        "p50": took[len(took) // 2] * 1e3,
        "p99": took[len(took) * 99 // 100] * 1e3,
        "cpu": spent[0] / len(took) * 1e6,
        "database": spent[1] / len(took) * 1e6,
    }


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
) -> None:  # fmt: skip
    await compare(all_sides, workload)
    measured: dict[tuple[str, int], list[Figures]] = {}
    writes = asyncio.create_task(writing(writer, workload))
    for _ in range(options.rounds):
        for connections, one in itertools.product((1, CONNECTIONS), all_sides):
            if one.side.requests(workload):
                figures = await load(one, workload, options.seconds, connections, database)
                measured.setdefault((one.side.name, connections), []).append(figures)
    writes.cancel()
    await asyncio.wait([writes])
    await asyncio.sleep(0.2)
    await compare(all_sides, workload)
    print(table(workload, measured), flush=True)


def table(workload: Workload, measured: dict[tuple[str, int], list[Figures]]) -> str:
    """Markdown: medians of the rounds, and each rate as a multiple of PostGraphile's."""
    lines = [
        f"**{workload.name}**",
        "",
        "| | connections | a second | of theirs | p50, ms | p99, ms | CPU, us | database, us |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (name, connections), rounds in measured.items():
        middle = {key: median(each[key] for each in rounds) for key in rounds[0]}
        peers = measured["PostGraphile 5", connections]
        ratio = median(one["rate"] / peer["rate"] for one, peer in zip(rounds, peers, strict=True))
        lines.append(
            f"| {name} | {connections} | {middle['rate']:,.0f} | {ratio:.2f} | "
            f"{middle['p50']:.2f} | {middle['p99']:.2f} | {middle['cpu']:,.0f} | "
            f"{middle['database']:,.0f} |"
        )
    return "\n".join([*lines, ""])


@asynccontextmanager
async def filled() -> AsyncIterator[tuple[str, int, Writer]]:
    """A database with the quotes: its URL, its process, and what writes to it."""
    folder = Path(tempfile.mkdtemp(prefix="quotes-queries-"))
    await asyncio.to_thread(folder.chmod, 0o755)  # its servers run as a user of their own
    server = Postgres(folder / "postgres", options={"fsync": "off", "synchronous_commit": "off"})
    await server.start()
    try:
        await asyncio.to_thread(migrations.migrate, server.url, "0001")
        end = datetime.now(UTC).replace(second=0, microsecond=0)
        await fill(server.url, end)
        await asyncio.to_thread(migrations.migrate, server.url)
        connection = await asyncpg.connect(server.url)
        await connection.execute(FUNCTIONS)
        await connection.execute("VACUUM ANALYZE")
        postmaster = await asyncio.to_thread((server.folder / "data" / "postmaster.pid").read_text)
        await connection.close()
        async with open_engine(server.url, name="bench") as engine:
            yield server.url, int(postmaster.split()[0]), Writer(Sessions(engine), end)
    finally:
        await server.stop()
        shutil.rmtree(folder)


async def fill(url: str, end: datetime) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(FILL, TODAY - DAYS * DAY, end, TICKERS)
    # Late rows find their minutes missing.
    late = TODAY - 5 * DAY
    await connection.execute(
        "DELETE FROM quotes WHERE ticker = $1 AND minute >= $2 AND minute < $3",
        TICKERS[3], late, late + timedelta(hours=6),
    )  # fmt: skip
    await connection.execute("UPDATE high_water SET seq = (SELECT max(seq) FROM quotes)")
    await connection.close()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", default="", help="words of the workloads' names")
    parser.add_argument("--node", default=shutil.which("node") or "node")
    return parser.parse_args()


def chosen(only: str) -> Iterator[Workload]:
    words = [word for word in only.split(",") if word]
    for workload in workloads():
        if not words or any(word in workload.name for word in words):
            yield workload


async def main() -> None:
    given = options()
    cores = sorted(os.sched_getaffinity(0))
    async with filled() as (url, database, writer), AsyncExitStack() as stack:
        os.sched_setaffinity(0, set(cores[1:]) or set(cores))
        servers = [
            await stack.enter_async_context(running(side, url, cores[0]))
            for side in sides(given.node)
        ]
        for workload in chosen(given.only):
            await measure(servers, workload, writer, given, database)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its servers end with it
    asyncio.run(main())
