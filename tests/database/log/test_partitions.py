"""The quotes' partitions: made when they are needed, and only those read that are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import cast

import asyncpg
import pytest
from rows import insert, log, minute, quote, wait
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from versions import on_each_postgres

from quotes.database import connections, minutes
from quotes.database.collected import Collected
from quotes.database.log import partitions, rollup, store, stream
from quotes.database.maintenance import migrations
from quotes.database.models import Failure
from quotes.database.queries import history, json_pages, latest, series
from quotes.database.sessions import Sessions, open_engine
from quotes.settings import Settings
from workers.history import compaction

pytestmark = on_each_postgres

MONTH = 43_830  # minutes, on average
MINUTE = timedelta(minutes=1)
OPENED = """
    SELECT DISTINCT name FROM partitions
    JOIN pg_class ON relname = name JOIN pg_locks ON relation = pg_class.oid
    WHERE pid = pg_backend_pid() ORDER BY name
"""
SCANS = """
    SELECT name, coalesce(idx_scan, 0) + seq_scan AS scans
    FROM partitions JOIN pg_stat_xact_user_tables ON relname = name ORDER BY name
"""


def name(at: datetime) -> str:
    return f"quotes_{at:%Y_%m}"


async def names(sessions: Sessions) -> list[str]:
    async with sessions() as session:
        connection = await session.connection()
        return [*(await connection.scalars(text("SELECT name FROM partitions ORDER BY name")))]


async def test_a_month_is_made_by_its_first_quote_whether_it_is_past_or_to_come(
    sessions: Sessions,
) -> None:
    await insert(sessions, quote(at=0), quote(at=-40 * MONTH), quote("eth_usd", at=MONTH))

    await insert(sessions, quote("eth_usd", at=0))

    assert await names(sessions) == ["quotes_2022_10", "quotes_2026_01", "quotes_2026_03"]
    assert [each.seq for each in await log(sessions)] == [1, 2, 3, 4]


async def test_writers_that_need_a_month_at_once_make_it_once(sessions: Sessions) -> None:
    each = [quote(f"t{number}_usd", at=number % 4 * MONTH) for number in range(8)]

    await asyncio.gather(*(insert(sessions, one) for one in each))

    assert len(await names(sessions)) == 4
    assert [each.seq for each in await log(sessions)] == [*range(1, 9)]


async def test_a_month_that_a_transaction_made_is_gone_with_it(sessions: Sessions) -> None:
    async with sessions() as session:
        await store.insert(session, [quote(at=0)])
        await session.rollback()

    assert await names(sessions) == []
    await insert(sessions, quote(at=0))
    assert len(await log(sessions)) == 1


async def test_a_quote_stored_by_any_statement_is_in_the_stream(sessions: Sessions) -> None:
    """As those of a worker of the release before."""
    await insert(sessions, quote(at=-MONTH), quote(at=0))

    async with sessions.begin() as session:
        await (await session.connection()).exec_driver_sql(
            "INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)"
            " SELECT ticker, minute + interval '1 minute', 1, now(), source, origin, 3 FROM quotes"
            " ORDER BY minute LIMIT 1"
        )
        await store.advance(session, 3)

    assert [(each.seq, each.minute) for each in await log(sessions, after=2)] == [
        (3, minute(-MONTH + 1))
    ]


async def test_a_quote_of_a_partition_that_nothing_is_known_of_is_refused(
    sessions: Sessions,
) -> None:
    await insert(sessions, quote(at=0))
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("DELETE FROM partitions")

        with pytest.raises(Exception, match="is not in the table partitions"):
            await connection.exec_driver_sql(
                "INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)"
                " SELECT 'eth_usd', minute, price, observed_at, source, origin, 2 FROM quotes"
            )
        await session.rollback()


NOW = datetime.now(UTC).replace(second=0, microsecond=0)
OLD = minute(-MONTH)  # a month in the middle of others
Read = Callable[[AsyncSession], Awaitable[object]]


def of_tickers(*names: str) -> Read:
    async def read(session: AsyncSession) -> object:
        book = partitions.Book(10**6, [partitions.SeqRange(OLD - MINUTE, OLD + MINUTE, 1, 10**6)])
        return await stream.page(session, book, after=0, upto=10**6, limit=9, tickers=names or None)

    return read


# What each opens: the partition of the minutes that it reads, and no other.
AT_OLD: dict[str, Read] = {
    "page": lambda session: store.page(session, store.Span("btc_usd", OLD, OLD + MINUTE), limit=10),
    "candles": lambda session: history.candles(session, "btc_usd", [OLD], OLD + MINUTE),
    "candles of hours that are cut": lambda session: history.candles(
        session, "btc_usd", [OLD + MINUTE], OLD + timedelta(hours=2)
    ),
    "series": lambda session: series.of_minutes(session, "btc_usd", OLD, OLD + 9 * MINUTE, 4),
    "missing": lambda session: minutes.missing(session, OLD, ["btc_usd", "eth_usd"]),
    "refresh": lambda session: rollup.refresh(session, {("btc_usd", OLD), ("eth_usd", OLD)}),
    "failures": lambda session: minutes.record_failures(
        session,
        [Failure(ticker="eth_usd", minute=OLD, cause="C", message="", failed_at=OLD, attempts=1)],
    ),
    "replay": of_tickers(),
    "replay of tickers": of_tickers("btc_usd", "eth_usd"),
    "cursor": lambda session: stream.with_seq(session, 7),
}
AT_NEWEST: dict[str, Read] = {
    "newest": lambda session: store.newest(session, ["btc_usd"]),
    "newest of a snapshot": lambda session: store.newest(session, ["btc_usd"], upto=100),
    "end": lambda session: stream.end(session, limit=3),
    "news": lambda session: stream.news(session, since=15, limit=3, oldest=NOW),
}


async def fill(sessions: Sessions) -> None:
    """Seven months, one after the other, and the days that have just been."""
    for month in range(-4, 3):
        await insert(sessions, quote(at=month * MONTH), quote(at=month * MONTH + 1))
    at = (NOW - minute(0)) // MINUTE
    for back in range(3, 0, -1):
        await insert(sessions, quote(at=at - back))


async def opened(sessions: Sessions, read: Read) -> tuple[list[str], list[str]]:
    """The partitions that are opened for a read, and those that are looked into."""
    async with sessions() as session:
        connection = await session.connection()
        before = (await connection.execute(text(SCANS))).all()
        await read(session)
        after = (await connection.execute(text(SCANS))).all()
        looked_into = [name for name, scans in after if (name, scans) not in before]
        return [*await connection.scalars(text(OPENED))], looked_into


@pytest.mark.parametrize("read", AT_OLD)
async def test_a_read_of_the_past_opens_its_own_month_alone(sessions: Sessions, read: str) -> None:
    await fill(sessions)

    assert (await opened(sessions, AT_OLD[read]))[0] == [name(OLD)]


async def test_a_read_of_a_compacted_month_opens_it_alone(sessions: Sessions) -> None:
    await fill(sessions)
    await compaction.compact(sessions, now=NOW)

    for read in AT_OLD.values():
        assert (await opened(sessions, read))[0] == [f"{name(OLD)}_compacted"]


async def test_a_quote_is_stored_with_its_month_and_the_last_one_opened(sessions: Sessions) -> None:
    await fill(sessions)

    found, _ = await opened(
        sessions, lambda session: store.insert(session, [quote("eth_usd", at=-MONTH + 7)])
    )

    assert found == sorted([name(OLD), name(NOW)])


@pytest.mark.parametrize("read", AT_NEWEST)
async def test_a_read_of_what_is_new_opens_no_month_of_the_past(
    sessions: Sessions, read: str
) -> None:
    await fill(sessions)

    found, _ = await opened(sessions, AT_NEWEST[read])

    assert {name(NOW)} <= {*found} <= {name(NOW), name(NOW - store.RECENT)}


async def test_tickers_and_their_extent_are_known_without_any_month(sessions: Sessions) -> None:
    await fill(sessions)

    async def read(session: AsyncSession) -> None:
        assert await store.tickers(session) == ["btc_usd"]
        extent = await series.extent(session, "btc_usd")
        assert extent == (minute(-4 * MONTH), NOW - MINUTE)

    assert await opened(sessions, read) == ([], [])


async def test_the_newest_of_a_ticker_that_has_long_had_none_is_looked_for_from_the_end(
    sessions: Sessions,
) -> None:
    await insert(sessions, *(quote("old_usd", at=month * MONTH) for month in range(-6, -3)))
    await fill(sessions)

    async def read(session: AsyncSession) -> None:
        (newest,) = await store.newest(session, ["old_usd"])
        assert newest.minute == minute(-4 * MONTH)

    looked_into = (await opened(sessions, read))[1]
    assert name(minute(-4 * MONTH)) in looked_into
    assert name(minute(-5 * MONTH)) not in looked_into


async def test_the_oldest_is_looked_for_from_the_beginning(sessions: Sessions) -> None:
    await fill(sessions)

    _, looked_into = await opened(sessions, lambda session: store.oldest(session, ["btc_usd"]))

    assert looked_into == [name(minute(-4 * MONTH))]


Ask = Callable[[connections.Pool, Collected], Awaitable[object]]
POOLED: dict[str, Ask] = {
    "day": lambda pool, collected: json_pages.page(
        pool,
        json_pages.Wanted(store.Span("btc_usd", OLD, OLD + MINUTE), 10),
        [(*json_pages.COLUMNS.values(),)],
        NOW,
        collected,
    ),
    "latest": lambda pool, _: latest.newest(pool, ["btc_usd"]),
    "exists": lambda pool, _: json_pages.exists(pool, store.Span("btc_usd", OLD, OLD + MINUTE)),
}


class PoolOfOne:
    """A pool whose connection can be in a transaction."""

    def __init__(self, connection: connections.Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self, *, timeout: float) -> AsyncIterator[connections.Connection]:  # noqa: ASYNC109
        yield self._connection


@pytest.mark.parametrize("read", POOLED)
async def test_prepared_statements_open_the_months_of_their_parameters(
    sessions: Sessions, settings: Settings, read: str
) -> None:
    """However often they are executed."""
    await fill(sessions)
    wanted = {name(NOW), name(NOW - store.RECENT)} if read == "latest" else {name(OLD)}
    ask = POOLED[read]
    collected = Collected(settings.selection, sessions)

    connection = await connections.connector(settings.require_database_url(), name="test")()
    pool = cast("connections.Pool", PoolOfOne(connection))
    for _ in range(8):
        async with connection.transaction():
            await ask(pool, collected)
            found = {row["name"] for row in await connection.fetch(OPENED)}
        assert found <= wanted
        assert found
    await connection.close()


# Of the release before the partitions.
OLD_INSERT = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT $1, $2::timestamptz, 1.5, $2::timestamptz + interval '1 s', 'demo', $3,
           (SELECT seq + 1 FROM high_water)
"""
FILL = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT 't' || n % 5 || '_usd', timestamptz '2026-01-01Z' + n / 5 * interval '1 minute', 1.5,
           timestamptz '2026-01-01Z', 'demo', CASE n % 7 WHEN 3 THEN 'BACKFILLED' ELSE 'LIVE' END, n
    FROM generate_series(1, 40000) n;
    UPDATE high_water SET seq = 40000
"""


async def write(url: str, ticker: str, until: asyncio.Event) -> int:
    """As a worker of the release before does, minute after minute; how many."""
    connection = await asyncpg.connect(url)
    stored = 0
    try:
        while not until.is_set():
            async with connection.transaction():
                await connection.execute("SELECT FROM high_water FOR UPDATE")
                at = NOW - timedelta(days=1) + stored * MINUTE
                origin = "BACKFILLED" if stored % 3 == 0 else "LIVE"
                await connection.execute(OLD_INSERT, ticker, at, origin)
                await connection.execute("UPDATE high_water SET seq = seq + 1")
            stored += 1
    finally:
        await connection.close()
    return stored


async def test_a_filled_table_becomes_the_past_beside_workers_of_the_release_before(
    empty_database_url: str,
) -> None:
    url = empty_database_url
    await asyncio.to_thread(migrations.migrate, url, "0011")
    connection = await asyncpg.connect(url)
    await connection.execute(FILL)
    done = asyncio.Event()
    writers = [asyncio.create_task(write(url, f"w{number}_usd", done)) for number in range(3)]
    reader = await asyncpg.connect(url)

    await asyncio.to_thread(migrations.migrate, url)
    assert await reader.fetchval("SELECT count(*) FROM quotes") >= 40_000
    before = await connection.fetchval("SELECT seq FROM high_water")
    high_water = partial(connection.fetchval, "SELECT seq FROM high_water")
    await wait(high_water, lambda seq: seq > before + 9)
    done.set()
    stored = 40_000 + sum(await asyncio.gather(*writers))

    async with open_engine(url, name="test") as engine:
        sessions = Sessions(engine)
        at = (NOW - minute(0)) // MINUTE + 2 * MONTH
        await insert(sessions, quote(at=at), quote(at=at - 9 * MONTH))
        streamed = await log(sessions)
        of_some = await log(sessions, tickers=["w1_usd", "t3_usd", "none_usd", "btc_usd"])
        known = await names(sessions)
    found = await connection.fetch("SELECT seq, origin FROM quotes ORDER BY seq")
    await connection.close()
    await reader.close()
    assert [row["seq"] for row in found] == [*range(1, stored + 3)]
    assert [each.seq for each in streamed] == [
        row["seq"] for row in found if row["origin"] != "BACKFILLED"
    ]
    assert [each.seq for each in of_some] == [
        each.seq for each in streamed if each.ticker in {"w1_usd", "t3_usd", "btc_usd"}
    ]
    assert known == [name(minute(at)), "quotes_past"]


async def test_a_table_that_was_partitioned_can_become_one_again(empty_database_url: str) -> None:
    url = empty_database_url
    await asyncio.to_thread(migrations.migrate, url)
    async with open_engine(url, name="test") as engine:
        sessions = Sessions(engine)
        await insert(sessions, *(quote(at=month * MONTH) for month in range(-2, 3)))
        before = [(each.seq, each.minute, each.price) for each in await log(sessions)]

    await asyncio.to_thread(migrations.migrate, url, "0011")

    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT seq, minute, price FROM quotes ORDER BY seq")
    assert [tuple(row) for row in rows] == before
    await connection.close()
    await asyncio.to_thread(migrations.migrate, url)
    async with open_engine(url, name="test") as engine:
        after = [(each.seq, each.minute, each.price) for each in await log(Sessions(engine))]
    assert after == before
