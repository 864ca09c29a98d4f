"""The dearest operations that are allowed: what they take of the event loop and of the database.

    python bench/cost.py [--database-url URL] [--runs 5]

Each root field is asked for in its dearest ways, once and under as many aliases as MAX_COST allows.
`hold` is the longest that the loop was held at a time; `loop`, `threads` and `database` are CPU
time, so that other programs on the machine disturb none of them. By these figures the weights of
`quotes.api.cost` are set: points are to be no less than the milliseconds of all three together.
The database holds a ticker of ten years with one quote an hour, of which the last 90 days have one
each minute, and 299 tickers of four weeks with one an hour.
"""

import argparse
import asyncio
import tempfile
import time
from asyncio.events import Handle
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from quotes.api.context import Context
from quotes.api.errors import RefusedError
from quotes.api.plans import queries
from quotes.api.plans.answers import Answers
from quotes.api.plans.plans import Plans
from quotes.database import constituents
from quotes.database.collected import Collected
from quotes.database.constituents import Report
from quotes.database.maintenance import migrations
from quotes.database.sessions import Sessions, open_engine
from quotes.live.feed import open_feed
from quotes.live.newest import Newest
from quotes.live.single_flight import SingleFlight
from quotes.local.embedded import Postgres
from quotes.market.charts import OLDEST
from quotes.market.constituents import Constituent, Spreads, spread
from quotes.server.lanes import open_lanes
from quotes.server.process import collect_garbage_seldom
from quotes.settings import Settings

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
QUARTER = NOW - timedelta(days=90)
QUOTE = "ticker price at timestamp observedAt source origin cursor ageSeconds stale collected"
NOW_TOO = f"{QUOTE} confidence {{ spread percent exchanges ageSeconds }}"
MADE_OF = (
    "nodes { exchange price originalPrice weight observedAt used } observedAt ageSeconds "
    "confidence { spread percent exchanges ageSeconds }"
)
CANDLE = "openTime closeTime open high low close count coverage complete filled"
X = 'ticker: "btc_usd"'


def since(length: timedelta) -> str:
    return f'from: "{(NOW - length).isoformat()}"'


WAYS = {
    "prices, nodes": f"prices({X}, last: 10000) {{ nodes {{ {QUOTE} }} }}",
    "prices, edges": f"prices({X}, last: 10000) {{ edges {{ cursor node {{ {QUOTE} }} }} }}",
    "prices, one field": f"prices({X}, last: 10000) {{ nodes {{ at }} }}",
    "prices, page info": f"prices({X}, first: 1) {{ pageInfo {{ hasNextPage hasPreviousPage }} }}",
    "candles of minutes": f'candles({X}, interval: "1m", {since(4_900 * MINUTE)}) {{ {CANDLE} }}',
    "candles of 30 minutes": (
        f'candles({X}, interval: "30m", {since(timedelta(days=89))}) {{ {CANDLE} }}'
    ),
    "candles of hours": f'candles({X}, interval: "1h", {since(4_900 * HOUR)}) {{ {CANDLE} }}',
    "candles of months": f'candles({X}, interval: "1mo", from: "2016-01-01T00:00Z") {{ {CANDLE} }}',
    "candles, filled": (
        f'candles({X}, interval: "1h", fill: NULL, {since(4_900 * HOUR)}) {{ {CANDLE} }}'
    ),
    "candles of a zone": (
        f'candles({X}, interval: "1d", timeZone: "Asia/Kolkata", from: "2016-01-01T00:00Z")'
        f" {{ {CANDLE} }}"
    ),
    "series of 14 days": f"series({X}, {since(timedelta(days=14))}) {{ times prices }}",
    "series, all points": (
        f"series({X}, maxPoints: 10000, {since(timedelta(days=13))}) {{ times prices }}"
    ),
    "series of all": f"series({X}, maxPoints: 10000) {{ times prices }}",
    "sparklines": "sparklines { ticker times prices }",
    "sparklines, many points": 'sparklines(window: "4w", points: 70) { ticker times prices }',
    "sparklines, ends": "sparklines(points: 2) { ticker times prices }",
    "gaps of all": f"gaps({X}) {{ missing }}",
    "gaps, listed": f"gaps({X}, first: 5000) {{ nodes {{ from to minutes cause repaired }} }}",
    "change": f'change({X}, window: "90d") {{ percent latest {{ {QUOTE} }} base {{ {QUOTE} }} }}',
    "priceAt": f'priceAt({X}, at: "2026-01-01T00:00Z", direction: NEAREST) {{ {QUOTE} }}',
    "latestPrice": f"latestPrice({X}) {{ {QUOTE} }}",
    "latestPrice, confidence": f"latestPrice({X}) {{ {NOW_TOO} }}",
    "latestPrices": f"latestPrices {{ {QUOTE} }}",
    "latestPrices, confidence": f"latestPrices {{ {NOW_TOO} }}",
    "constituents": f"constituents({X}) {{ {MADE_OF} }}",
    "tickers": f"tickers {{ name first {{ {QUOTE} }} last {{ {QUOTE} }} }}",
}


def dearest(way: str) -> tuple[str, int, int]:
    """Under as many aliases as are allowed; how many, and the points."""
    best = "", 0, 0
    for number in range(1, 51):
        query = "{" + " ".join(f"f{place}: {way}" for place in range(number)) + "}"
        try:
            plan = queries.plan(query, None, {}, NOW)
        except RefusedError:
            break
        if plan is None:  # more tokens than a document may have
            break
        best = query, number, plan.points
    return best


FILL = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT ticker, minute, round(100000 + 900 * sin(extract(epoch FROM minute) / 9000)::numeric, 2),
           minute + interval '1 s', 'bench', 'LIVE', row_number() OVER (ORDER BY minute, ticker)
    FROM (
        SELECT 'btc_usd' AS ticker,
               generate_series($1::timestamptz, $2, interval '1 hour') AS minute
        UNION SELECT 'btc_usd', generate_series($2, $3::timestamptz, interval '1 minute')
        UNION SELECT 't' || place || '_usd', hour
        FROM generate_series(1, 299) AS place,
             generate_series($3::timestamptz - interval '28 d', $3, '1 h') AS hour
    ) AS every
"""


async def prepare(url: str) -> None:
    await asyncio.to_thread(migrations.migrate, url, "0001")
    connection = await asyncpg.connect(url)
    await connection.execute(
        FILL.replace("$1", f"'{OLDEST}'").replace("$2", f"'{QUARTER}'").replace("$3", f"'{NOW}'")
    )
    await connection.execute("UPDATE high_water SET seq = (SELECT max(seq) FROM quotes)")
    await asyncio.to_thread(migrations.migrate, url)
    await connection.execute("ANALYZE")
    await connection.close()


@asynccontextmanager
async def planning(url: str) -> AsyncIterator[Plans]:
    """Plans as a web process has them, with a cache of no size."""
    settings = Settings(database_url=url)
    async with (
        open_lanes(settings) as lanes,
        open_feed(lanes.live, lanes.listen, lanes.replays) as (feed, _),
    ):
        await feed.position()
        single_flight = SingleFlight(feed)
        newest = Newest(feed, lanes.replays, single_flight)
        lanes_of_queries = lanes.sessions, lanes.queries, lanes.replays
        collected = Collected(settings.selection, lanes.sessions)
        context = Context(settings, *lanes_of_queries, feed, single_flight, newest, collected)
        yield Plans(context, Answers(feed, 0))


@dataclass
class Taken:
    """CPU time in milliseconds."""

    hold: float = 0.0
    loop: float = 0.0
    threads: float = 0.0
    database: float = 0.0


@contextmanager
def holds() -> Iterator[list[float]]:
    """The CPU time of each callback that the loop runs meanwhile, in seconds."""
    found: list[float] = []
    original = Handle._run  # noqa: SLF001  # asyncio has no other way to see it

    def run(handle: Any) -> None:
        before = time.thread_time()
        original(handle)
        found.append(time.thread_time() - before)

    Handle._run = run  # type: ignore[assignment,method-assign]  # noqa: SLF001
    try:
        yield found
    finally:
        Handle._run = original  # type: ignore[method-assign]  # noqa: SLF001


async def taken(plans: Plans, query: str, pids: list[int]) -> tuple[Taken, int]:
    """What one answer takes, and its length."""
    with holds() as found:
        await asyncio.sleep(0)
        before, process, thread = backends(pids), time.process_time(), time.thread_time()
        answer = await plans.answer(query, None, None)
        loop, process = time.thread_time() - thread, time.process_time() - process
        await asyncio.sleep(0)
    assert answer is not None
    assert b'"errors"' not in answer.body[-10_000:], answer.body[-1_000:]
    return Taken(
        max(found) * 1_000, loop * 1_000, (process - loop) * 1_000, backends(pids) - before
    ), len(answer.body)


def backends(pids: list[int]) -> float:
    """Milliseconds that the database's processes have spent computing."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e6


async def publish(url: str) -> None:
    """Of all tickers twelve exchanges, as many as any index has."""
    at = datetime.now(UTC)
    prices = [Decimal(f"100000.{place:02}") for place in range(12)]
    exchanges = [
        Constituent(f"exchange{price}", price, price, Decimal("8.333333"), at, used=True)
        for price in prices
    ]
    found = spread(exchanges)
    spreads = Spreads(at, found, {NOW: found})
    zero = timedelta()
    async with open_engine(url, name="bench") as engine, Sessions(engine).begin() as session:
        names = ["btc_usd", *(f"t{place}_usd" for place in range(1, 300))]
        await constituents.publish(
            session, [Report(name, exchanges, spreads, zero, zero) for name in names]
        )


async def bench(url: str, runs: int) -> None:
    print(
        f"{'':24}{'times':>6}{'points':>8}{'hold':>8}{'loop':>8}{'threads':>9}{'database':>10}{'kB':>8}"
    )
    collect_garbage_seldom()  # as a web process does
    async with planning(url) as plans:
        for name, way in WAYS.items():
            await publish(url)  # what is known of indexes is forgotten in a minute
            for query, number, points in ((f"{{ {way} }}", 1, alone(way)), dearest(way)):
                await plans.answer(query, None, None)  # opens connections, fills caches
                pids = [row["pid"] for row in await plans.context.queries.fetch(ACTIVE)]
                rows = [await taken(plans, query, pids) for _ in range(runs)]
                hold, loop, threads, database = (
                    median(getattr(each, part) for each, _ in rows)
                    for part in ("hold", "loop", "threads", "database")
                )
                print(
                    f"{name:24}{number:6}{points:8,}{hold:8.1f}{loop:8.1f}{threads:9.1f}"
                    f"{database:10.1f}{rows[0][1] / 1_000:8,.0f}",
                    flush=True,
                )


ACTIVE = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type IN ('client backend', 'parallel worker')"
)


def alone(way: str) -> int:
    plan = queries.plan(f"{{ {way} }}", None, {}, NOW)
    assert plan is not None
    return plan.points


async def main(url: str | None, runs: int) -> None:
    if url is not None:
        await prepare(url)
        await bench(url, runs)
        return
    with tempfile.TemporaryDirectory(prefix="quotes-bench-") as folder:
        Path(folder).chmod(0o755)  # noqa: ASYNC240  # nothing else runs yet
        postgres = Postgres(Path(folder) / "postgres")
        await postgres.start()
        try:
            await prepare(postgres.url)
            await bench(postgres.url, runs)
        finally:
            await postgres.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database-url", help="an empty database, in place of one of its own")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.database_url, arguments.runs))
