"""What compacting a month gains and costs: bytes, time, and what reading it takes.

Two months of 20 tickers' minutes, as they come: all of a minute, one after the other. One stays so,
but with a key without columns, as a compacted month has; the other is compacted, while a minute's
quotes are stored every 0.2 seconds.

    python bench/compaction.py
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import asyncpg
from history import cpu, server

from quotes.database.collected import Collected
from quotes.database.connections import Pool, connector, pool_of
from quotes.database.log import compaction, partitions, store, stream
from quotes.database.maintenance import migrations
from quotes.database.models import Origin, Quote
from quotes.database.queries import history, json_pages
from quotes.database.sessions import Sessions, open_engine
from quotes.market.coverage import MINUTE
from quotes.market.selection import Selection

SEPTEMBER, OCTOBER, NOVEMBER = (datetime(2026, month, 1, tzinfo=UTC) for month in (9, 10, 11))
TICKERS = [f"t{place:02}_usd" for place in range(20)]
DAY = timedelta(days=1)
RUNS = 60
FILL = """
    INSERT INTO quotes (ticker, minute, price, observed_at, exact_time, source, origin, seq)
    SELECT ticker, minute,
           round((60000 + 900 * sin(extract(epoch FROM minute) / 9000 + place))::numeric, 2),
           minute + interval '1.234567 s', true, 'deribit', 'LIVE',
           row_number() OVER (ORDER BY minute, place)
    FROM generate_series($1::timestamptz, $2::timestamptz - interval '1 s', interval '1 minute')
             AS minute,
         unnest($3::text[]) WITH ORDINALITY AS named (ticker, place)
    ORDER BY minute, place
"""
PLAIN = """
    ALTER TABLE quotes_2026_09
    DROP CONSTRAINT quotes_2026_09_pkey,
    ADD CONSTRAINT quotes_2026_09_pkey PRIMARY KEY (ticker, minute)
"""
SIZES = r"""
    SELECT relname, pg_relation_size(oid) FROM pg_class
    WHERE relname LIKE 'quotes\_2026\_10%' ORDER BY relname
"""
Read = Callable[[int], Awaitable[object]]


async def fill(url: str) -> int:
    """How many quotes each month has, about."""
    connection = await asyncpg.connect(url)
    await connection.execute(FILL, SEPTEMBER, NOVEMBER, TICKERS, timeout=3_600)
    count = await connection.fetchval("UPDATE high_water SET seq = (SELECT max(seq) FROM quotes)"
                                      " RETURNING seq")  # fmt: skip
    await connection.execute(PLAIN, timeout=600)
    await connection.execute("VACUUM ANALYZE", timeout=600)
    await connection.close()
    return int(count)


async def sizes(url: str) -> None:
    connection = await asyncpg.connect(url)
    found = dict(await connection.fetch(SIZES))
    await connection.close()
    count = (NOVEMBER - OCTOBER) // MINUTE * len(TICKERS)
    for name, size in found.items():
        print(f"{name:45} {size / count:7.1f} bytes a quote")
    print(f"{'in all':45} {sum(found.values()) / count:7.1f}\n", flush=True)


async def reading(url: str, sessions: Sessions, month: datetime, first: int) -> None:
    """The database's CPU for each kind of read, in ms; `first` is the month's first seq."""

    collected = Collected(Selection.of(TICKERS), sessions)

    async def day(pool: Pool, number: int) -> object:
        at = month + number * 7 % 28 * DAY
        span = store.Span(TICKERS[number % 20], at, at + DAY)
        rows = [("{", json_pages.COLUMNS["at"], ",", json_pages.COLUMNS["price"], "}")]
        return await json_pages.page(
            pool, json_pages.Wanted(span, 1_440), rows, NOVEMBER, collected
        )

    async def candles(number: int) -> object:
        starts = [month + number % 20 * DAY + n * timedelta(minutes=15) for n in range(672)]
        async with sessions() as session:
            return await history.candles(
                session, TICKERS[number % 20], starts, starts[-1] + timedelta(minutes=15)
            )

    async def replay(number: int) -> object:
        async with sessions() as session:
            book = await partitions.book(session)
            after = first + number * 10_000
            return await stream.page(session, book, after=after, upto=book.upto, limit=10_000)

    async with pool_of(connector(url, name="bench"), size=1) as pool:
        pid = await pool.fetchval("SELECT pg_backend_pid()")
        await measure("a day's 1,440 prices", pid, partial(day, pool))
    async with sessions() as session:
        connection = await session.connection()
        pid = (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
    await measure("15 min candles of a week", pid, candles)
    await measure("10,000 quotes of the log", pid, replay)
    print(flush=True)


async def measure(name: str, pid: int, read: Read) -> None:
    spent = []
    for number in range(RUNS):
        before = cpu(pid)
        await read(number)
        spent.append(cpu(pid) - before)
    print(f"{name:45} {statistics.median(spent):7.2f} ms", flush=True)


def minute(at: datetime) -> list[Quote]:
    return [
        Quote(ticker=ticker, minute=at, price=Decimal("60000.25"), observed_at=at,
              exact_time=True, source="deribit", origin=Origin.LIVE)
        for ticker in TICKERS
    ]  # fmt: skip


async def live(sessions: Sessions, at: datetime, until: asyncio.Event) -> None:
    took = list[float]()
    while not until.is_set():
        began = time.perf_counter()
        await sessions.transact(partial(store.insert, quotes=minute(at)))
        took.append((time.perf_counter() - began) * 1_000)
        at += MINUTE
        await asyncio.sleep(0.2)
    print(f"{len(took)} minutes stored: median {statistics.median(took):.0f} ms,"
          f" slowest {max(took):.0f} ms", flush=True)  # fmt: skip


async def compact(url: str, sessions: Sessions) -> None:
    alone, done = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(20, alone.set)
    await live(sessions, NOVEMBER, alone)
    storing = asyncio.create_task(live(sessions, NOVEMBER + DAY, done))
    async with (
        open_engine(url, name="compaction", size=1, statement_timeout=3_600) as engine,
        Sessions(engine).begin() as session,
    ):
        connection = await session.connection()
        pid = (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
        places = [(time.perf_counter(), cpu(pid))]
        copy = await compaction.fill(session, "quotes_2026_10")
        assert copy is not None
        copy = await compaction.catch_up(session, copy)
        places.append((time.perf_counter(), cpu(pid)))
        await compaction.swap(session, copy)
        places.append((time.perf_counter(), cpu(pid)))
        await session.commit()
        places.append((time.perf_counter(), cpu(pid)))
    done.set()
    await storing
    for name, (begin, before), (end, after) in zip(
        (f"copied {copy.count:,} quotes", "swapped", "committed"), places, places[1:], strict=False
    ):
        print(f"{name:45} {(end - begin) * 1_000:7.0f} ms, {after - before:7.1f} of CPU")
    print(flush=True)


async def main() -> None:
    async with server(None) as url, open_engine(url, name="bench", size=2) as engine:
        await asyncio.to_thread(migrations.migrate, url)
        async with Sessions(engine).begin() as session:
            await partitions.make(session, [SEPTEMBER, OCTOBER])
        count = await fill(url)
        of_september = (OCTOBER - SEPTEMBER) // MINUTE * len(TICKERS)
        async with open_engine(url, name="bench", size=1) as one:
            print(f"{count:,} quotes\n\nOctober as it came:")
            await sizes(url)
            await reading(url, Sessions(one), OCTOBER, of_september)
            print("September, with a key without columns:")
            await reading(url, Sessions(one), SEPTEMBER, 0)
            await compact(url, Sessions(engine))
            print("October, compacted:")
            await sizes(url)
            await reading(url, Sessions(one), OCTOBER, of_september)


asyncio.run(main())
