"""The hourly rollup equals its minutes, however and whenever they came."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest
from rollups import as_rows, expected_hours, random_quotes, stored_hours
from rows import insert, minute, quote
from versions import on_each_postgres

from quotes.database.log import store
from quotes.database.maintenance import migrations
from quotes.database.models import Hour, Quote
from quotes.database.sessions import Sessions, open_engine

pytestmark = on_each_postgres


async def test_hours_equal_their_minutes_in_whatever_order_these_came(
    sessions: Sessions,
) -> None:
    quotes = random_quotes(seed=1)

    for start in range(0, len(quotes), 500):
        await insert(sessions, *quotes[start : start + 500])

    assert as_rows(await stored_hours(sessions)) == expected_hours(quotes)


async def test_a_quote_that_is_stored_already_changes_no_hour(sessions: Sessions) -> None:
    await insert(sessions, quote(at=0, price="100"))

    await insert(sessions, quote(at=0, price="200"), quote(at=1, price="150"))

    (hour,) = await stored_hours(sessions)
    prices = [Decimal(price) for price in (100, 150, 150)]
    assert [hour.open, hour.high, hour.close] == prices
    assert hour.count == 2


async def test_a_rollup_is_rolled_back_with_its_quotes(sessions: Sessions) -> None:
    async with sessions() as session:
        await store.insert(session, [quote()])
        await session.rollback()

    assert await stored_hours(sessions) == []


async def test_writers_side_by_side_leave_an_hour_whole(sessions: Sessions) -> None:
    await asyncio.gather(*(insert(sessions, quote(at=at)) for at in range(60)))

    (hour,) = await stored_hours(sessions)
    assert (hour.hour, hour.count, hour.minutes) == (minute(0), 60, (1 << 60) - 1)


def test_migrations_of_a_filled_database_roll_up_the_quotes_that_are_there(
    empty_database_url: str,
) -> None:
    quotes = random_quotes(seed=2)
    migrations.migrate(empty_database_url, "0001")
    asyncio.run(_insert(empty_database_url, quotes))

    migrations.migrate(empty_database_url)

    async def read() -> list[Hour]:
        async with open_engine(empty_database_url, name="test") as engine:
            return await stored_hours(Sessions(engine))

    assert as_rows(asyncio.run(read())) == expected_hours(quotes)


async def _insert(url: str, quotes: list[Quote]) -> None:
    connection = await asyncpg.connect(url)
    records = [
        (each.ticker, each.minute, each.price, each.observed_at, each.source, each.origin, seq)
        for seq, each in enumerate(quotes, start=1)
    ]
    await connection.copy_records_to_table("quotes", records=records)
    await connection.close()


@pytest.mark.parametrize("hours", [1, 24])
async def test_an_hour_begins_with_its_first_minute_and_ends_before_the_next_hour_s(
    sessions: Sessions, hours: int
) -> None:
    await insert(sessions, quote(at=60 * hours - 1), quote(at=60 * hours))

    assert [each.hour for each in await stored_hours(sessions)] == [
        minute(0) + timedelta(hours=hours - 1),
        minute(0) + timedelta(hours=hours),
    ]
