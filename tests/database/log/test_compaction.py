"""Months that are over, rewritten in the order of their key: all is there, and nobody waits."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import asyncpg
import pytest
from rows import insert, log, quote
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from versions import on_each_postgres

from quotes.database.errors import BusyError, UnavailableError, translated
from quotes.database.log import compaction, store
from quotes.database.log.compaction import ChangedError, Copy
from quotes.database.maintenance import migrations, removal
from quotes.database.models import Origin
from quotes.database.queries import history
from quotes.database.sessions import Sessions, open_engine
from workers.history import compaction as work
from workers.history import retention

pytestmark = on_each_postgres

WEEK = 10_080  # minutes
JANUARY, FEBRUARY = "quotes_2026_01", "quotes_2026_02"
COMPACTED = f"{JANUARY}_compacted"
OVER = datetime(2026, 2, 3, tzinfo=UTC)  # the first moment to compact January
ROWS = """
    SELECT ticker, minute, price::text, observed_at, exact_time, source, origin, seq
    FROM {} ORDER BY {}
"""


async def rows(sessions: Sessions, of: str = "quotes", by: str = "seq") -> list[tuple[object, ...]]:
    async with sessions() as session:
        found = await (await session.connection()).execute(text(ROWS.format(of, by)))
        return [tuple(row) for row in found]


async def tables(sessions: Sessions) -> set[str]:
    """Those that hold quotes, attached or not."""
    async with sessions() as session:
        query = text("SELECT tablename FROM pg_tables WHERE tablename LIKE 'quotes\\_%'")
        return {*await (await session.connection()).scalars(query)}


async def fill(sessions: Sessions) -> list[tuple[object, ...]]:
    """Quotes of three tickers, of each origin, in January, minute by minute; one in February."""
    prices = ("100000.50", "0.00000001230", "7")
    for at in range(40):
        origin = [*Origin][at % 3]
        await insert(
            sessions, *(quote(f"t{n}_usd", at, prices[n], origin=origin) for n in range(3))
        )
    await insert(sessions, quote(at=WEEK))
    return await rows(sessions)


async def copied(session: AsyncSession) -> Copy:
    copy = await compaction.fill(session, JANUARY)
    assert copy is not None
    return copy


async def swap(session: AsyncSession, copy: Copy) -> None:
    with translated():
        async with session.begin_nested():
            await compaction.swap(session, copy)


async def test_every_quote_is_there_afterwards_digit_for_digit_and_in_the_order_of_the_key(
    sessions: Sessions,
) -> None:
    before, streamed = await fill(sessions), await log(sessions)

    for _ in range(2):  # it may be repeated
        await work.compact(sessions, now=OVER)

    assert await rows(sessions) == before
    assert [each.seq for each in await log(sessions)] == [each.seq for each in streamed]
    assert await tables(sessions) == {COMPACTED, FEBRUARY}
    assert await rows(sessions, COMPACTED, "ctid") == await rows(
        sessions, COMPACTED, "ticker, minute"
    )


async def test_a_month_is_left_as_it_is_while_missed_minutes_may_still_be_repaired(
    sessions: Sessions,
) -> None:
    await fill(sessions)

    await work.compact(sessions, now=OVER - timedelta(seconds=1))

    assert await tables(sessions) == {JANUARY, FEBRUARY}


async def test_quotes_that_are_stored_while_a_month_is_copied_are_not_lost(
    sessions: Sessions,
) -> None:
    """Nor do they wait for it."""
    await fill(sessions)
    async with sessions.begin() as session:
        copy = await copied(session)
        await insert(sessions, quote("new_usd", 3), quote("t0_usd", 50, origin=Origin.BACKFILLED))
        copy = await compaction.catch_up(session, copy)
        await insert(sessions, quote("new_usd", 4), quote("t0_usd", 51, origin=Origin.BACKFILLED))
        await insert(sessions, quote(at=WEEK + 1))
        before, streamed = await rows(sessions), await log(sessions)

        await swap(session, copy)

    assert await rows(sessions) == before
    assert [each.seq for each in await log(sessions)] == [each.seq for each in streamed]


async def forget(sessions: Sessions) -> None:
    async with sessions() as session:
        extent = await removal.extent(session, "t1_usd")
    assert extent is not None
    for piece in extent.chunks():
        await sessions.transact(partial(removal.remove, piece=piece))


async def change_by_hand(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.execute(text("UPDATE quotes SET price = 5 WHERE ticker = 't1_usd'"))


@pytest.mark.parametrize("change", [forget, change_by_hand])
async def test_what_is_removed_or_changed_while_a_month_is_copied_stays_so(
    sessions: Sessions, change: Callable[[Sessions], Awaitable[None]]
) -> None:
    await fill(sessions)
    async with sessions.begin() as session:
        copy = await copied(session)
        await change(sessions)
        before = await rows(sessions)

        with pytest.raises(ChangedError):
            await swap(session, copy)
        await session.rollback()

    assert await tables(sessions) == {JANUARY, FEBRUARY}
    await work.compact(sessions, now=OVER)
    assert await rows(sessions) == before
    assert COMPACTED in await tables(sessions)


async def test_a_run_whose_connection_is_lost_leaves_nothing_and_may_be_repeated(
    sessions: Sessions,
) -> None:
    before = await fill(sessions)
    with pytest.raises(UnavailableError):  # noqa: PT012  # the session ends in an error
        async with sessions.begin() as session:
            await copied(session)
            own = await (await session.connection()).scalar(text("SELECT pg_backend_pid()"))
            async with sessions.begin() as other:
                end = text("SELECT pg_terminate_backend(:pid, 60000)")
                await (await other.connection()).execute(end, {"pid": own})
            await store.high_water(session)

    assert await tables(sessions) == {JANUARY, FEBRUARY}
    await work.compact(sessions, now=OVER)
    assert await rows(sessions) == before
    assert await tables(sessions) == {COMPACTED, FEBRUARY}


async def test_of_two_workers_at_once_one_compacts(sessions: Sessions) -> None:
    await fill(sessions)
    async with sessions.begin() as session:
        copy = await copied(session)

        await work.compact(sessions, now=OVER)  # another
        assert await tables(sessions) == {JANUARY, FEBRUARY}

        await swap(session, copy)
    assert await tables(sessions) == {COMPACTED, FEBRUARY}


async def read(session: AsyncSession) -> object:
    return await store.page(session, store.Span("t0_usd"), limit=1)


@pytest.mark.parametrize("use", [read, store.lock])
async def test_a_month_is_replaced_once_nobody_uses_the_table_and_nobody_waits_for_it(
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[AsyncSession], Awaitable[object]],
) -> None:
    monkeypatch.setattr(work, "PAUSE", 0.05)
    before = await fill(sessions)
    async with sessions.begin() as user:
        await use(user)  # and its transaction goes on
        async with sessions.begin() as session:
            with pytest.raises(BusyError):
                await swap(session, await copied(session))
            await session.rollback()

        compacting = asyncio.create_task(work.compact(sessions, now=OVER))
        for _ in range(30):
            assert await rows(sessions) == before
    await compacting

    assert await rows(sessions) == before
    assert await tables(sessions) == {COMPACTED, FEBRUARY}


async def test_a_month_that_stays_in_use_is_left_as_it_is(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "PAUSE", 0.01)
    monkeypatch.setattr(work, "ATTEMPTS", 2)
    await fill(sessions)
    async with sessions() as reader:
        await read(reader)

        await work.compact(sessions, now=OVER)

        assert await tables(sessions) == {JANUARY, FEBRUARY}


async def test_what_is_read_of_one_moment_holds_a_month_that_is_replaced_after_it(
    sessions: Sessions,
) -> None:
    """Its rows are newer than that moment."""
    before = await fill(sessions)
    async with sessions() as reader:
        await history.freeze(reader)
        await store.high_water(reader)
        async with sessions.begin() as session:
            with pytest.raises(BusyError):
                await swap(session, await copied(session))
            await session.rollback()

        found = await (await reader.connection()).execute(text(ROWS.format("quotes", "seq")))
        assert [tuple(row) for row in found] == before


async def test_a_reader_beside_never_misses_a_quote(sessions: Sessions) -> None:
    before, done = await fill(sessions), asyncio.Event()

    async def look() -> int:
        looks = 0
        while not done.is_set():
            assert await rows(sessions) == before
            looks += 1
        return looks

    looking = [asyncio.create_task(look()) for _ in range(3)]
    await work.compact(sessions, now=OVER)
    done.set()

    assert min(await asyncio.gather(*looking)) > 0
    assert COMPACTED in await tables(sessions)


async def test_a_compacted_month_takes_late_quotes_and_is_retired_as_any(
    sessions: Sessions,
) -> None:
    await fill(sessions)
    await work.compact(sessions, now=OVER)

    assert await insert(sessions, quote("new_usd", 3), quote("t0_usd", 3)) == 1
    assert (await log(sessions))[-1].ticker == "new_usd"

    await retention.retire(sessions, 1, now=OVER + timedelta(days=31))
    assert await tables(sessions) == {FEBRUARY}


MANY = """
    INSERT INTO quotes (ticker, minute, price, observed_at, exact_time, source, origin, seq)
    SELECT 't' || to_char(n % 20, 'FM00') || '_usd', at, 61234.56 + n % 977,
           at + interval '1.234 s', true, 'deribit', 'LIVE', n
    FROM generate_series(1, 40000) AS n,
         LATERAL (SELECT timestamptz '2026-01-02Z' + n / 20 * interval '1 minute' AS at) AS its
"""
PLAN = """
    EXPLAIN SELECT price FROM quotes
    WHERE ticker = 't07_usd' AND minute >= '2026-01-02Z' AND minute < '2026-01-03Z' ORDER BY minute
"""


async def test_a_compacted_quote_takes_140_bytes_with_all_indexes_and_a_day_is_read_by_the_key(
    sessions: Sessions,
) -> None:
    await insert(sessions, quote())  # which makes the month
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.execute(text("DELETE FROM quotes"))
        await connection.execute(text(MANY))
        await store.advance(session, 40_000)

    await work.compact(sessions, now=OVER)

    async with sessions() as session:
        connection = await session.connection()
        size = await connection.scalar(text(f"SELECT pg_total_relation_size('{COMPACTED}')"))
        plan = "\n".join(await connection.scalars(text(PLAN)))
    assert size is not None
    assert size / 40_000 <= 140
    assert f"{COMPACTED}_pkey" in plan
    assert "Seq Scan" not in plan


OF_BEFORE = """
    CREATE TABLE quotes_2026_01 PARTITION OF quotes
    FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
    CREATE TABLE quotes_2026_02 PARTITION OF quotes
    FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z');
    INSERT INTO partitions VALUES
        ('quotes_2026_01', '2026-01-01Z', '2026-02-01Z'),
        ('quotes_2026_02', '2026-02-01Z', '2026-03-01Z');
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT 't' || n % 5 || '_usd', at, 1.50, at, 'demo', 'LIVE', n
    FROM generate_series(1, 500) AS n,
         LATERAL (SELECT timestamptz '2026-01-30Z' + n / 5 * interval '1 hour' AS at) AS its;
    UPDATE high_water SET seq = 500
"""
KEYS = """
    SELECT relname, indnatts FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
    WHERE indisprimary AND relname LIKE 'quotes%' ORDER BY relname
"""
AGAIN = "INSERT INTO quotes SELECT * FROM quotes WHERE seq = $1"


async def test_a_database_of_the_release_before_is_compacted_and_can_go_back(
    empty_database_url: str,
) -> None:
    url = empty_database_url
    await asyncio.to_thread(migrations.migrate, url, "0012")
    connection = await asyncpg.connect(url)
    await connection.execute(OF_BEFORE)

    await asyncio.to_thread(migrations.migrate, url)
    async with open_engine(url, name="test") as engine:
        sessions = Sessions(engine)
        before = await rows(sessions)
        await work.compact(sessions, now=OVER)
        assert await tables(sessions) == {COMPACTED, FEBRUARY}
        assert await rows(sessions) == before
        for seq in (1, 500):  # of both months
            with pytest.raises(asyncpg.UniqueViolationError):
                await connection.execute(AGAIN, seq)

        await asyncio.to_thread(migrations.migrate, url, "0012")
        assert await rows(sessions) == before

    keys = [tuple(row) for row in await connection.fetch(KEYS)]
    assert keys == [("quotes", 8), (COMPACTED, 8), (FEBRUARY, 8)]
    await connection.close()


IN_ONE_TABLE = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT 't' || n % 5 || '_usd', at, 1.50, at, 'demo',
           CASE n % 7 WHEN 3 THEN 'BACKFILLED' ELSE 'LIVE' END, n
    FROM generate_series(1, 500) AS n,
         LATERAL (SELECT timestamptz '2025-01-01Z' + n / 5 * interval '1 day' AS at) AS its;
    UPDATE high_water SET seq = 500
"""


async def test_the_past_that_a_release_before_the_partitions_left_is_compacted_as_one(
    empty_database_url: str,
) -> None:
    url = empty_database_url
    await asyncio.to_thread(migrations.migrate, url, "0011")
    connection = await asyncpg.connect(url)
    await connection.execute(IN_ONE_TABLE)
    await connection.close()
    await asyncio.to_thread(migrations.migrate, url)
    async with open_engine(url, name="test") as engine:
        sessions = Sessions(engine)
        before = await rows(sessions)

        await work.compact(sessions, now=datetime.now(UTC) + timedelta(days=99))

        assert await rows(sessions) == before
        assert await tables(sessions) == {"quotes_past_compacted"}
        assert len(await log(sessions)) == len([row for row in before if row[6] == "LIVE"])
