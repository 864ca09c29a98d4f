"""Minutes that are no longer kept: dropped beside readers and writers, never skipped silently."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rollups import as_rows, stored_hours
from rows import NOON, insert, log, minute, quote, record
from sqlalchemy import text
from versions import on_each_postgres

from quotes.database.log import partitions, retention, store, stream
from quotes.database.maintenance import removal
from quotes.database.models import Failure, Origin
from quotes.database.sessions import Sessions
from workers.history import retention as work

pytestmark = on_each_postgres

MONTH = 43_830  # minutes, on average


async def names(sessions: Sessions) -> list[str]:
    async with sessions() as session:
        connection = await session.connection()
        return [*(await connection.scalars(text("SELECT name FROM partitions ORDER BY name")))]


async def test_what_is_older_is_dropped_and_its_hours_stay(sessions: Sessions) -> None:
    await insert(sessions, *(quote(at=month * MONTH) for month in range(-5, 1)))
    hours = as_rows(await stored_hours(sessions))
    before = await log(sessions)

    for _ in range(2):  # it may be repeated
        await work.retire(sessions, 2, now=NOON)

    kept = [each for each in before if each.minute >= datetime(2025, 11, 1, tzinfo=UTC)]
    assert await names(sessions) == sorted({f"quotes_{each.minute:%Y_%m}" for each in kept})
    assert [each.seq for each in await log(sessions, after=kept[0].seq - 1)] == [
        each.seq for each in kept
    ]
    assert as_rows(await stored_hours(sessions)) == hours
    async with sessions() as session:
        assert await retention.retired_before(session) == datetime(2025, 11, 1, tzinfo=UTC)


async def test_a_minute_that_is_no_longer_kept_is_not_stored_again(sessions: Sessions) -> None:
    await insert(sessions, quote(at=-3 * MONTH), quote(at=0))
    await work.retire(sessions, 1, now=NOON)

    stored = await insert(sessions, quote(at=-3 * MONTH), quote("eth_usd", at=-4 * MONTH))

    assert stored == 0
    assert await insert(sessions, quote(at=-4 * MONTH), quote(at=1)) == 1
    assert await names(sessions) == ["quotes_2026_01"]


@given(
    batches=st.lists(
        st.lists(
            st.tuples(st.integers(-3, 0), st.integers(0, 9), st.sampled_from([*Origin])),
            max_size=4,
            unique_by=lambda each: each[:2],
        ),
        max_size=6,
    ),
    months=st.integers(1, 3),
    tickers=st.sampled_from([None, ["btc_usd"]]),
)
@hypothesis_settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_a_reader_anywhere_gets_all_that_follows_or_is_refused(
    sessions: Sessions,
    batches: list[list[tuple[int, int, Origin]]],
    months: int,
    tickers: list[str] | None,
) -> None:
    """Also where a quote of a month that is dropped came later than those of others."""
    async with sessions.begin() as session:
        connection = await session.connection()
        for name in await retention.expired(session, NOON + timedelta(days=99)):
            await retention.retire(session, name)
        await connection.exec_driver_sql(
            "UPDATE high_water SET seq = 0, retired_seq = 0, retired_before = NULL"
        )
        await connection.exec_driver_sql("DELETE FROM runs")
    for batch in batches:
        await insert(
            sessions, *(quote(at=m * MONTH + at, origin=origin) for m, at, origin in batch)
        )
    before = await log(sessions)
    async with sessions() as session:
        book = await partitions.book(session)  # as one that was read before the drop

    await work.retire(sessions, months, now=NOON)

    async with sessions() as session:
        kept = {each.seq for each in before} & {
            *await (await session.connection()).scalars(text("SELECT seq FROM quotes"))
        }
        for after in range(book.upto):
            expected = [each.seq for each in before if each.seq > after]
            found, cursor = list[int](), after
            try:
                while cursor < book.upto:
                    quotes, cursor = await stream.page(
                        session, book, after=cursor, upto=book.upto, limit=3, tickers=tickers
                    )
                    found += [each.seq for each in quotes]
            except stream.RetiredError:
                assert cursor == after  # refused at once
                assert not kept.issuperset(each.seq for each in before if each.seq > after)
            else:
                assert found == expected


async def test_rebuilding_leaves_the_hours_of_what_is_no_longer_kept(sessions: Sessions) -> None:
    await insert(sessions, quote(at=-3 * MONTH), quote(at=0))
    hours = as_rows(await stored_hours(sessions))
    await work.retire(sessions, 1, now=NOON)

    async with sessions() as session:
        extent = await removal.extent(session, "btc_usd")
    assert extent is not None
    for piece in extent.chunks():
        await sessions.transact(partial(removal.rebuild, piece=piece))

    assert as_rows(await stored_hours(sessions)) == hours
    for piece in extent.chunks():
        await sessions.transact(partial(removal.remove, piece=piece))
    assert await stored_hours(sessions) == []


async def test_a_partition_is_dropped_once_nobody_reads_the_table_and_nobody_waits_for_it(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "PAUSE", 0.05)
    await insert(sessions, quote(at=-3 * MONTH), quote(at=0))
    async with sessions() as reader:
        await store.page(reader, store.Span("btc_usd"), limit=1)  # and its transaction goes on

        retiring = asyncio.create_task(work.retire(sessions, 1, now=NOON))
        for at in range(1, 30):
            assert await insert(sessions, quote(at=at)) == 1
            assert len(await log(sessions, after=2)) == at
        assert "quotes_2025_11" in await names(sessions)
    await retiring

    assert await names(sessions) == ["quotes_2026_01"]


def failure(at: int) -> Failure:
    return Failure(
        ticker="btc_usd", minute=minute(at), cause="C", message="", failed_at=NOON, attempts=1
    )


async def failures(sessions: Sessions) -> list[datetime]:
    async with sessions() as session:
        connection = await session.connection()
        return [*await connection.scalars(text("SELECT minute FROM failures ORDER BY minute"))]


async def test_old_failures_are_deleted_and_so_are_too_many(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "CHUNK", 2)
    await record(sessions, *(failure(at) for at in (-14 * MONTH, -15 * MONTH, *range(-9, 0))))

    assert await work.remove_failures(sessions, now=NOON) == 2
    assert await failures(sessions) == [minute(at) for at in range(-9, 0)]

    monkeypatch.setattr(work, "MOST_FAILURES", 3)
    assert await work.remove_failures(sessions, now=NOON) == 5
    assert await failures(sessions) == [minute(at) for at in range(-4, 0)]
