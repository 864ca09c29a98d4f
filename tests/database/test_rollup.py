"""The hourly rollup equals its minutes, however and whenever they came."""

import asyncio
import random
from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest
from plain import candles
from rows import keep, minute, quote
from sqlmodel import select
from versions import on_each_postgres

from quotes.database import migrations, store
from quotes.database.models import Hour, Origin, Quote

pytestmark = on_each_postgres


async def rolled(sessions: store.Sessions) -> list[Hour]:
    async with sessions() as session:
        return list((await session.exec(select(Hour))).all())


def reckoned(quotes: list[Quote]) -> list[tuple[object, ...]]:
    """The rows of `hours` that these quotes must make."""
    found: list[tuple[object, ...]] = []
    for ticker in sorted({each.ticker for each in quotes}):
        own = [each for each in quotes if each.ticker == ticker]
        for hour, candle in candles(own, lambda at: at.replace(minute=0)).items():
            within = [each for each in own if each.minute.replace(minute=0) == hour]
            high = min(each.minute for each in within if each.price == candle.high)
            low = min(each.minute for each in within if each.price == candle.low)
            places = sum(1 << each.minute.minute for each in within)
            repaired = sum(1 << each.minute.minute for each in within if each.origin == "REPAIRED")
            found.append((ticker, hour, candle.open, candle.high, candle.low, candle.close,
                          high, low, candle.count, places, repaired))  # fmt: skip
    return found


def shown(hours: list[Hour]) -> list[tuple[object, ...]]:
    return sorted(
        (each.ticker, each.hour, each.open, each.high, each.low, each.close,
         each.high_at, each.low_at, each.count, each.minutes, each.repaired)
        for each in hours
    )  # fmt: skip


def scattered(seed: int) -> list[Quote]:
    """Two tickers' quotes of two days with holes, of every origin, in no order."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    quotes = [
        quote(ticker, at, str(chance.randint(90_000, 90_050) / 4), origin=chance.choice([*Origin]))
        for ticker in ("btc_usd", "eth_usd")
        for at in range(-1_440, 1_440)
        if chance.random() < 0.7
    ]
    chance.shuffle(quotes)
    return quotes


async def test_hours_equal_their_minutes_in_whatever_order_these_came(
    sessions: store.Sessions,
) -> None:
    quotes = scattered(seed=1)

    for start in range(0, len(quotes), 500):
        await keep(sessions, *quotes[start : start + 500])

    assert shown(await rolled(sessions)) == reckoned(quotes)


async def test_a_quote_that_is_kept_already_changes_no_hour(sessions: store.Sessions) -> None:
    await keep(sessions, quote(at=0, price="100"))

    await keep(sessions, quote(at=0, price="200"), quote(at=1, price="150"))

    (hour,) = await rolled(sessions)
    prices = [Decimal(price) for price in (100, 150, 150)]
    assert [hour.open, hour.high, hour.close] == prices
    assert hour.count == 2


async def test_a_rollup_is_rolled_back_with_its_quotes(sessions: store.Sessions) -> None:
    async with sessions() as session:
        await store.keep(session, [quote()])
        await session.rollback()

    assert await rolled(sessions) == []


async def test_writers_side_by_side_leave_an_hour_whole(sessions: store.Sessions) -> None:
    await asyncio.gather(*(keep(sessions, quote(at=at)) for at in range(60)))

    (hour,) = await rolled(sessions)
    assert (hour.hour, hour.count, hour.minutes) == (minute(0), 60, (1 << 60) - 1)


def test_migrations_of_a_filled_database_roll_up_the_quotes_that_are_there(
    empty_database_url: str,
) -> None:
    quotes = scattered(seed=2)
    migrations.migrate(empty_database_url, "0001")
    asyncio.run(_insert(empty_database_url, quotes))

    migrations.migrate(empty_database_url)

    async def read() -> list[Hour]:
        async with store.open_engine(empty_database_url, name="test") as engine:
            return await rolled(store.sessions_of(engine))

    assert shown(asyncio.run(read())) == reckoned(quotes)


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
    sessions: store.Sessions, hours: int
) -> None:
    await keep(sessions, quote(at=60 * hours - 1), quote(at=60 * hours))

    assert [each.hour for each in await rolled(sessions)] == [
        minute(0) + timedelta(hours=hours - 1),
        minute(0) + timedelta(hours=hours),
    ]
