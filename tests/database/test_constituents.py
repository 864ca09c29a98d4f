"""What an index is made of, from the workers to the web processes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from compositions import publish
from hypothesis import given
from hypothesis import strategies as st
from rows import NOON
from sqlalchemy import text
from versions import on_each_postgres

from quotes.database import constituents
from quotes.database.connections import Pool, open_pool
from quotes.database.constituents import (
    Report,
    exchanges_json,
    exchanges_of,
    spreads_json,
    spreads_of,
)
from quotes.database.sessions import Sessions
from quotes.market.constituents import Constituent, Spread, Spreads
from quotes.settings import Settings

PRICES, OTHERS = ("41108.350", "1.6433e-4", None), ("7", "8")


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    async with open_pool(settings.require_database_url(), name="test", size=1) as pool:
        yield pool


async def published_last(pool: Pool) -> Sequence[Constituent] | None:
    known = await constituents.of(pool, "btc_usd")
    spreads = await constituents.spreads(pool, ["btc_usd", "eth_usd"])
    if known is None:
        return None
    assert spreads["btc_usd"].spreads == known.spreads
    return known.constituents


numbers = st.none() | st.decimals(allow_nan=False, allow_infinity=False)
times = st.integers(0, 1 << 42).map(lambda each: NOON + timedelta(milliseconds=each))
apart = st.none() | st.builds(Spread, st.decimals(0, 9), st.decimals(1, 9), st.integers(2, 50))


@given(
    st.lists(
        st.builds(
            Constituent, st.text(), numbers, numbers, numbers, st.none() | times, st.booleans()
        )
    ),
    st.builds(Spreads, times, apart, st.dictionaries(times, apart)),
)
def test_what_is_written_is_read_digit_for_digit(
    exchanges: list[Constituent], spreads: Spreads
) -> None:
    # Equal decimals may have different digits, and their text shows which.
    assert repr(exchanges_of(exchanges_json(exchanges))) == repr(exchanges)
    assert repr(spreads_of(spreads_json(spreads))) == repr(spreads)


@on_each_postgres
async def test_what_is_published_is_known_with_its_digits_and_its_age(
    sessions: Sessions, pool: Pool
) -> None:
    published = await publish(sessions, NOON, *PRICES, ago=5, age=3_600)

    known = await constituents.of(pool, "btc_usd")

    assert known is not None
    assert repr(known.constituents) == repr(published.constituents)
    assert known.spreads == published.spreads
    assert timedelta(hours=1) <= known.age < timedelta(hours=1, seconds=30)


@on_each_postgres
async def test_nothing_is_known_of_what_came_long_ago(sessions: Sessions, pool: Pool) -> None:
    await publish(sessions, NOON, *PRICES, ago=61)
    assert await published_last(pool) is None
    assert await constituents.spreads(pool, ["btc_usd"]) == {}

    await publish(sessions, NOON, *PRICES, ago=30)
    assert await published_last(pool) is not None


@on_each_postgres
async def test_what_cannot_be_understood_takes_the_place_of_what_was_known(
    sessions: Sessions, pool: Pool
) -> None:
    await publish(sessions, NOON, *PRICES, ago=1)
    await publish(sessions, NOON)

    assert await published_last(pool) is None
    assert (await constituents.spreads(pool, ["btc_usd"]))["btc_usd"].spreads.current is None


@on_each_postgres
async def test_of_two_workers_the_last_to_hear_is_believed(sessions: Sessions, pool: Pool) -> None:
    first = await publish(sessions, NOON, *PRICES, ago=5)
    await publish(sessions, NOON, *OTHERS, ago=10)
    assert await published_last(pool) == first.constituents

    last = await publish(sessions, NOON, *OTHERS, ago=1)
    assert await published_last(pool) == last.constituents


@on_each_postgres
async def test_a_clock_that_was_set_back_keeps_nothing_old(sessions: Sessions, pool: Pool) -> None:
    await publish(sessions, NOON, *PRICES, ago=-3_600)
    assert await published_last(pool) is None

    last = await publish(sessions, NOON, *OTHERS)
    assert await published_last(pool) == last.constituents


@on_each_postgres
async def test_workers_that_tell_the_same_in_another_order_do_not_wait_for_each_other_for_ever(
    sessions: Sessions, pool: Pool
) -> None:
    names = [f"t{number}_usd" for number in range(300)]

    async def tell_all(order: list[str], ago: timedelta) -> None:
        reports = [Report(name, (), Spreads(NOON, None, {}), ago, ago) for name in order]
        async with sessions.begin() as session:
            await constituents.publish(session, reports)

    await asyncio.gather(
        *(
            tell_all(names[:: 1 - 2 * (turn % 2)], timedelta(seconds=30 - turn))
            for turn in range(20)
        )
    )

    assert (await constituents.spreads(pool, names)).keys() == set(names)


@on_each_postgres
async def test_the_table_is_not_in_the_write_ahead_log(sessions: Sessions) -> None:
    async with sessions() as session:
        rows = await (await session.connection()).execute(
            text("SELECT relpersistence::text FROM pg_class WHERE relname = 'constituents'")
        )
        assert rows.scalar() == "u"
