"""What history costs: `python bench/history.py`, with QUOTES_DATABASE_URL or a server of its own.

Fills an empty database with 20 tickers' minutes of 90 days (2.6 million quotes) and one ticker's of
a year, then runs each query many times and prints medians. "server" is the CPU time that the
database's process spent (from /proc, so only for a server on this machine), "all" the whole time
until the rows are objects here. Takes some minutes and 2 GB of disk.
"""

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from operator import itemgetter
from pathlib import Path

import aiohttp
import asyncpg
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.api.history import candles, gaps, series
from quotes.api.history.candles import Fill
from quotes.database.log import partitions, rollup, store
from quotes.database.maintenance import migrations
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions, open_engine
from quotes.live.thread import Thread
from quotes.local import probe
from quotes.local.embedded import Postgres
from quotes.market.coverage import MINUTE
from quotes.market.intervals import INTERVALS
from quotes.server.process import listen

END = datetime(2026, 10, 1, tzinfo=UTC)
BEGIN = END - timedelta(days=90)
YEAR = END - timedelta(days=365)
NOW = END + timedelta(days=1)
RUNS = 31
FOLLOWERS = 500
PROTOCOL = "graphql-transport-ws"

RAW_CANDLES = """
    SELECT date_trunc('hour', minute, 'UTC') AS hour, (array_agg(price ORDER BY minute))[1],
           max(price), min(price), (array_agg(price ORDER BY minute DESC))[1], count(*)
    FROM quotes WHERE ticker = :ticker AND minute >= :since AND minute < :until
    GROUP BY hour ORDER BY hour
"""
RAW_GAPS = """
    SELECT minute, next FROM (
        SELECT minute, lead(minute) OVER (ORDER BY minute) AS next
        FROM quotes WHERE ticker = :ticker AND minute >= :since AND minute < :until
    ) AS neighbours
    WHERE next > minute + interval '1 minute'
"""


def walk(seed: str, since: datetime, until: datetime) -> Iterator[tuple[object, ...]]:
    """A ticker's rows, with one minute in 300 missing and now and then an hour."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    cents, at = 10_000_000, since
    while at < until:
        cents += chance.randint(-900, 900)
        if chance.random() < 1 / 20_000:
            at += timedelta(hours=1)
        if chance.random() > 1 / 300:
            yield (seed, at, Decimal(cents) / 100, at, "bench", Origin.LIVE)
        at += MINUTE


async def fill(url: str) -> int:
    """Put the quotes there, past `store.insert`; how many."""
    spans = [(f"t{number:02}_usd", BEGIN) for number in range(20)] + [("year_usd", YEAR)]
    rows = [row for ticker, since in spans for row in walk(ticker, since, END)]
    rows.sort(key=itemgetter(1))  # as they would have come
    records = [(*row, seq) for seq, row in enumerate(rows, start=1)]
    async with open_engine(url, name="bench") as engine, Sessions(engine).begin() as session:
        await partitions.make(session, [YEAR + timedelta(days=day) for day in range(365)])
    connection = await asyncpg.connect(url)
    columns = ("ticker", "minute", "price", "observed_at", "source", "origin", "seq")
    await connection.copy_records_to_table("quotes", records=records, columns=columns)
    await connection.execute("UPDATE high_water SET seq = $1", len(records))
    await connection.close()
    return len(records)


@asynccontextmanager
async def server(url: str | None) -> AsyncIterator[str]:
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="quotes-bench-") as folder:
        Path(folder).chmod(0o755)  # noqa: ASYNC240  # nothing else runs yet
        postgres = Postgres(Path(folder) / "postgres")
        await postgres.start()
        try:
            yield postgres.url
        finally:
            await postgres.stop()


def cpu(pid: int) -> float:
    """Milliseconds that a process has spent computing."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


async def measure(
    sessions: Sessions, name: str, ask: Callable[[Sessions], Awaitable[object]]
) -> None:
    server: list[float] = []
    whole: list[float] = []
    for _ in range(RUNS):
        async with sessions() as session:
            pid = (
                await (await session.connection()).execute(text("SELECT pg_backend_pid()"))
            ).scalar_one()
        before, began = cpu(pid), time.perf_counter()
        await ask(sessions)  # by the same connection, which is the only one
        whole.append((time.perf_counter() - began) * 1_000)
        server.append(cpu(pid) - before)
    report(name, server, whole)


def report(name: str, server: list[float], whole: list[float]) -> None:
    print(f"{name:58} {statistics.median(server):9.1f} {statistics.median(whole):9.1f}", flush=True)


async def candles_of(sessions: Sessions, interval: str, since: datetime) -> object:
    limits = candles.bounds(INTERVALS[interval], UTC, since, END, NOW)
    return await candles.read(sessions, Thread(), "t07_usd", limits, Fill.NONE, NOW)


async def raw(sessions: Sessions, statement: str, ticker: str, since: datetime) -> object:
    parameters = {"ticker": ticker, "since": since, "until": END}
    async with sessions() as session:
        return (await (await session.connection()).execute(text(statement), parameters)).all()


async def series_of(sessions: Sessions, ticker: str, since: datetime) -> object:
    async with sessions() as session:
        return await series.read(session, store.Span(ticker, since, END), 1_000)


async def questions(sessions: Sessions) -> None:
    print(f"{'medians in ms':58} {'server':>9} {'all':>9}")
    for interval in ("1h", "4h", "1d"):
        name = f"{interval} candles over 90 days, from hours"
        await measure(sessions, name, partial(candles_of, interval=interval, since=BEGIN))
    days = END - timedelta(days=3)
    await measure(
        sessions, "1m candles over 3 days", partial(candles_of, interval="1m", since=days)
    )
    query = partial(raw, statement=RAW_CANDLES, ticker="t07_usd", since=BEGIN)
    await measure(sessions, "1h candles over 90 days, from raw minutes", query)
    year = store.Span("year_usd", YEAR, END)
    await measure(
        sessions,
        "a year's gaps, from hours",
        lambda sessions: gaps.read(sessions, Thread(), year, 1_000, NOW),
    )
    query = partial(raw, statement=RAW_GAPS, ticker="year_usd", since=YEAR)
    await measure(sessions, "a year's gaps, from raw minutes", query)
    for name, since in (("90 days", BEGIN), ("7 days", END - timedelta(days=7))):
        query = partial(series_of, ticker="t07_usd", since=since)
        await measure(sessions, f"a series of {name} in 1,000 points", query)
    query = partial(series_of, ticker="year_usd", since=YEAR)
    await measure(sessions, "a series of a year in 1,000 points", query)


CANDLES = "openTime open high low close count"
FOLLOWING = f"""
    subscription {{ candleUpdates(ticker: "w00_1r", interval: "1d") {{ {CANDLES} complete }} }}
"""
SPAN = f'from: "{BEGIN.isoformat()}", to: "{END.isoformat()}"'
ANSWERS = {
    "1h candles over 90 days, six fields": f"""
        {{ candles(ticker: "t07_usd", interval: "1h", {SPAN}) {{ {CANDLES} }} }}""",
    "1h candles over 90 days, all fields": f"""
        {{ candles(ticker: "t07_usd", interval: "1h", {SPAN}) {{
            {CANDLES} closeTime coverage complete filled }} }}""",
    "a series of 90 days in 1,000 points": f"""
        {{ series(ticker: "t07_usd", {SPAN}, maxPoints: 1000) {{ times prices cursor }} }}""",
    "a day's 1,440 prices, two fields": f"""
        {{ prices(ticker: "t07_usd", {SPAN}, first: 1440) {{ nodes {{ at price }} }} }}""",
    "10,000 prices, all fields": f"""
        {{ prices(ticker: "t07_usd", {SPAN}, first: 10000) {{ nodes {{
            ticker price at timestamp observedAt source origin cursor ageSeconds stale }} }} }}""",
    "a page of a year's gaps": f"""
        {{ gaps(ticker: "year_usd", from: "{YEAR.isoformat()}", to: "{END.isoformat()}") {{
            expected present nodes {{ from to minutes }} }} }}""",
}


async def answers(url: str) -> None:
    """The same by GraphQL, until the last byte of the answer has come."""
    print(f"{'medians in ms, over HTTP':58} {'API':>9} {'all':>9}")
    async with api(url) as (pid, address), aiohttp.ClientSession() as http:
        for name, query in ANSWERS.items():
            spent: list[float] = []
            whole: list[float] = []
            for _ in range(RUNS):
                before, began = cpu(pid), time.perf_counter()
                async with http.post(address, json={"query": query}) as response:
                    answer = await response.read()
                whole.append((time.perf_counter() - began) * 1_000)
                spent.append(cpu(pid) - before)
            assert b'"errors"' not in answer, answer
            report(name, spent, whole)


@asynccontextmanager
async def api(url: str) -> AsyncIterator[tuple[int, str]]:
    """One web process of ours: its id, and where it answers."""
    with listen("127.0.0.1", 0) as listener:
        port = int(listener.getsockname()[1])
    settings = {
        "QUOTES_DATABASE_URL": url,
        "QUOTES_PORT": str(port),
        "QUOTES_TICKERS": "t07_usd,year_usd,w00_1r",
    }
    words = (sys.executable, "-m", "quotes", "api")
    process = await asyncio.create_subprocess_exec(*words, env={**os.environ, **settings})
    try:
        async with asyncio.timeout(60):
            while not await probe.answers("127.0.0.1", port, "/healthz"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        yield process.pid, f"http://127.0.0.1:{port}/graphql"
    finally:
        process.terminate()
        await process.wait()


async def following(url: str, sessions: Sessions) -> None:
    """From before a commit until the last subscriber to a candle has received it."""
    received: asyncio.Queue[object] = asyncio.Queue()
    spent: list[float] = []
    whole: list[float] = []
    async with api(url) as (pid, address), AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        for _ in range(FOLLOWERS // 50):
            socket = await stack.enter_async_context(http.ws_connect(address, protocols=[PROTOCOL]))
            await socket.send_json({"type": "connection_init"})
            for number in range(50):
                request = {"id": str(number), "type": "subscribe", "payload": {"query": FOLLOWING}}
                await socket.send_json(request)
            stack.callback(asyncio.create_task(receive(socket, received)).cancel)
        await asyncio.sleep(2)  # no event reports that a subscription has begun
        for at in range(RUNS):
            quotes = arrived(1, 1, 1_000_000 + at, rolled=True)  # so late that no clock ends it
            before, began = cpu(pid), time.perf_counter()
            async with sessions.begin() as session:
                await store.insert(session, quotes)
            for _ in range(FOLLOWERS):
                assert await asyncio.wait_for(received.get(), 60) == "next"
            whole.append((time.perf_counter() - began) * 1_000)
            spent.append(cpu(pid) - before)
    report(f"{FOLLOWERS} subscribers of a candle, until a quote is delivered", spent, whole)


async def receive(
    socket: aiohttp.ClientWebSocketResponse, received: "asyncio.Queue[object]"
) -> None:
    async for message in socket:
        if (kind := message.json()["type"]) not in {"connection_ack", "ping"}:
            received.put_nowait(kind)


async def nothing(session: AsyncSession, touched: object) -> None:
    """In place of the rollup."""


async def writing(sessions: Sessions) -> None:
    print(f"{'rows a second, and ms a batch':58} {'rows/s':>9} {'ms':>9}")
    for rolled in (False, True):
        name = "with the rollup" if rolled else "without the rollup"
        for tickers, minutes, runs in ((20, 1, 120), (1, 5_000, 7)):
            took = []
            for run in range(runs):
                batch = arrived(tickers, minutes, run, rolled=rolled)
                began = time.perf_counter()
                with replaced(rolled=rolled):
                    async with sessions.begin() as session:
                        assert await store.insert(session, batch) == len(batch)
                took.append(time.perf_counter() - began)
            median = statistics.median(took)
            label = f"insert {tickers} tickers x {minutes:,} minutes, {name}"
            print(
                f"{label:58} {tickers * minutes / median:9,.0f} {median * 1_000:9.1f}", flush=True
            )


@contextmanager
def replaced(*, rolled: bool) -> Iterator[None]:
    original = rollup.refresh
    if not rolled:
        rollup.refresh = nothing
    try:
        yield
    finally:
        rollup.refresh = original


def arrived(tickers: int, minutes: int, run: int, *, rolled: bool) -> list[Quote]:
    begin = END + timedelta(days=1) + run * minutes * MINUTE
    return [
        Quote(
            ticker=f"w{number:02}_{tickers}{'r' if rolled else 'n'}",
            minute=begin + at * MINUTE,
            price=Decimal("100000.25"),
            observed_at=begin,
            source="bench",
            origin=Origin.BACKFILLED if minutes > 1 else Origin.LIVE,
        )
        for number in range(tickers)
        for at in range(minutes)
    ]


async def bench(url: str) -> None:
    async with open_engine(url, name="bench", size=1, statement_timeout=None) as engine:
        sessions = Sessions(engine)
        await questions(sessions)
        await answers(url)
        await following(url, sessions)
        await writing(sessions)


async def prepare(url: str) -> None:
    await asyncio.to_thread(migrations.migrate, url, "0001")
    print(f"{await fill(url):,} quotes")
    began = time.perf_counter()
    await asyncio.to_thread(migrations.migrate, url)
    print(f"rolled up by the migration in {time.perf_counter() - began:.1f} s")
    connection = await asyncpg.connect(url)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def main() -> None:
    async with server(os.environ.get("QUOTES_DATABASE_URL")) as url:
        await prepare(url)
        await bench(url)


if __name__ == "__main__":
    asyncio.run(main())
