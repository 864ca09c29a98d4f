"""Years of minutes as workers would have left them, but a day of them in each transaction."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from sqlalchemy import ARRAY, BigInteger, DateTime, Double, Integer, Text, bindparam, text
from sqlmodel.ext.asyncio.session import AsyncSession
from workloads import DAY

from quotes.database.log import partitions, rollup, store
from quotes.database.maintenance import migrations
from quotes.database.sessions import Sessions, open_engine
from quotes.local.embedded import Postgres
from quotes.market.coverage import HOUR, MINUTE, hour_of
from workers.demo import market
from workers.history import compaction

LEVELS_AT = datetime(2026, 11, 1, tzinfo=UTC)  # whose prices are those that all vary around

# One minute in 300 is missing, as is an hour now and then; one in 300 was repaired. A price has as
# many digits as the exchange's, and is its first in the minute.
STORE = text(
    """
    INSERT INTO quotes (ticker, minute, price, observed_at, exact_time, source, origin, seq)
    SELECT ticker, minute,
           trim_scale(round((level * (1 + 0.2 * sin(second::float8 / 9000000)
               + 0.01 * sin(second::float8 / 9000) + chance::float8 / 1000000000
           ))::numeric, digits)),
           minute + chance % 3000 * interval '1 ms', chance >= 6666, 'deribit',
           CASE WHEN chance < 6666 THEN 'REPAIRED' ELSE 'LIVE' END,
           :last + row_number() OVER (ORDER BY minute, ticker)
    FROM unnest(:tickers, :levels, :digits, :listed) AS indexes (ticker, level, digits, since),
         generate_series(:since, :until - interval '1 minute', interval '1 minute') AS minute,
         LATERAL (SELECT extract(epoch FROM minute)::bigint AS second) AS timed,
         LATERAL (SELECT abs(hashtextextended(ticker, second) % 1000000) AS chance) AS drawn
    WHERE minute >= indexes.since AND chance >= 3333
      AND hashtextextended(ticker, second / 3600) % 300 <> 0
    """
).bindparams(
    bindparam("last", type_=BigInteger),
    bindparam("tickers", type_=ARRAY(Text)),
    bindparam("levels", type_=ARRAY(Double)),
    bindparam("digits", type_=ARRAY(Integer)),
    bindparam("listed", type_=ARRAY(DateTime(timezone=True))),
    bindparam("since", type_=DateTime(timezone=True)),
    bindparam("until", type_=DateTime(timezone=True)),
)


@dataclass(frozen=True)
class Database:
    """A server of its own, and the minutes in it."""

    url: str
    pid: int  # the server's
    folder: Path
    listed: Mapping[str, datetime]  # since when it has each ticker


@asynccontextmanager
async def stored(
    folder: Path, listed: Mapping[str, datetime], end: datetime
) -> AsyncIterator[Database]:
    """A database with each ticker's minutes since it was listed; none of it is in memory.

    What `folder` has already is brought up to date.
    """
    unfinished = folder.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    at = folder if await asyncio.to_thread(folder.exists) else unfinished
    filling = Postgres(at, options={"fsync": "off", "synchronous_commit": "off"})
    try:
        await filling.start()
        await asyncio.to_thread(migrations.migrate, filling.url)
        await fill(filling.url, folder.name, listed, end)
    finally:
        await filling.stop()
    await asyncio.to_thread(write_out, at)
    server = Postgres(at.rename(folder))
    try:
        process = await server.start()
        yield Database(server.url, process.child.pid, folder, listed)
    finally:
        await server.stop()


async def fill(url: str, name: str, listed: Mapping[str, datetime], end: datetime) -> None:
    columns = (TextColumn(name), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    async with open_engine(url, name="bench", size=1, statement_timeout=None) as engine:
        sessions, since = Sessions(engine), min(listed.values())
        async with sessions() as session:
            newest = await store.newest(session, listed)
        if newest:
            since = max(quote.minute for quote in newest) + MINUTE
        with Progress(*columns, console=Console(stderr=True)) as bar:
            stored = bar.add_task(name, total=max(end - since, MINUTE) / DAY)
            while since < end:
                until = min(since.replace(hour=0, minute=0) + DAY, end)
                await sessions.transact(partial(store_day, listed=listed, since=since, until=until))
                bar.advance(stored, (until - since) / DAY)
                since = until
        await sessions.transact(partial(store.prepare, now=end))
        await compaction.compact(sessions, now=end)
    connection = await asyncpg.connect(url)
    await connection.execute("VACUUM ANALYZE", timeout=3_600)
    await connection.execute("CHECKPOINT", timeout=600)
    await connection.close()


async def store_day(
    session: AsyncSession, listed: Mapping[str, datetime], since: datetime, until: datetime
) -> None:
    """As `store.insert` does, with rows that the database makes."""
    last = await store.lock(session)
    await partitions.make(session, [since])
    names = [name for name, begin in listed.items() if begin < until]
    values = {
        "last": last,
        "tickers": names,
        "levels": [float(market.price(name, LEVELS_AT, 1)) for name in names],
        "digits": [market.decimals(name) for name in names],
        "listed": [listed[name] for name in names],
        "since": since,
        "until": until,
    }
    stored = await (await session.connection()).execute(STORE, values)
    first = hour_of(since)
    hours = range(-((first - until) // HOUR))
    touched = [(name, first + number * HOUR) for name in names for number in hours]
    await rollup.refresh(session, touched)
    await store.advance(session, last + stored.rowcount)


def write_out(folder: Path) -> None:
    """Write all to the disk, and let the kernel keep none of it in memory."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
