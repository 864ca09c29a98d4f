import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rows import insert, log, minute, names, quote
from versions import on_each_postgres

from quotes.database import minutes
from quotes.database.errors import RejectedError
from quotes.database.log import store
from quotes.database.models import Failure, Origin
from quotes.database.sessions import Sessions
from quotes.market.sources import MixedError
from quotes.settings import Settings

pytestmark = on_each_postgres


async def test_a_quote_stored_twice_is_one_row_with_its_first_price(
    sessions: Sessions,
) -> None:
    first = await insert(sessions, quote(price="100"))

    second = await insert(sessions, quote(price="200"))

    assert (first, second) == (1, 0)
    assert [each.price for each in await log(sessions)] == [Decimal(100)]


async def test_a_batch_that_names_a_minute_twice_stores_it_once(sessions: Sessions) -> None:
    stored = await insert(sessions, quote(at=1), quote(at=1), quote(at=2))

    assert stored == 2
    assert [each.seq for each in await log(sessions)] == [1, 2]


@pytest.mark.parametrize(("first", "then"), [("demo", "deribit"), ("deribit", "demo")])
async def test_made_up_and_real_prices_are_never_stored_together(
    sessions: Sessions, first: str, then: str
) -> None:
    for batch in ([first, then], [then, first]):
        with pytest.raises(MixedError):
            await insert(sessions, *(quote(at=at, source=name) for at, name in enumerate(batch)))
    await insert(sessions, quote(at=1, source=first))

    with pytest.raises(MixedError, match="would mix"):
        await insert(sessions, quote(at=2, source=then))

    await insert(sessions, quote(at=3, source=first))
    assert [(each.seq, each.source) for each in await log(sessions)] == [(1, first), (2, first)]


async def test_seq_has_no_gap_where_part_of_a_batch_is_known(sessions: Sessions) -> None:
    await insert(sessions, quote(at=1), quote(at=3))

    await insert(sessions, quote(at=1), quote(at=2), quote(at=3), quote(at=4))

    stored = await log(sessions)
    assert [each.seq for each in stored] == [1, 2, 3, 4]
    assert names(stored) == [("btc_usd", 1), ("btc_usd", 3), ("btc_usd", 2), ("btc_usd", 4)]


async def test_a_transaction_rolled_back_takes_no_number(sessions: Sessions) -> None:
    async with sessions() as session:
        await store.insert(session, [quote(at=1)])
        await session.rollback()

    await insert(sessions, quote(at=2))

    assert [(each.seq, each.minute) for each in await log(sessions)] == [(1, minute(2))]


async def test_a_batch_with_nothing_new_sends_no_notification(
    sessions: Sessions, settings: Settings
) -> None:
    notified: asyncio.Queue[str] = asyncio.Queue()
    connection = await asyncpg.connect(settings.require_database_url())
    await connection.add_listener(store.CHANNEL, lambda *event: notified.put_nowait(str(event[-1])))

    await insert(sessions, quote(at=1))
    await insert(sessions, quote(at=1))
    await insert(sessions, quote(at=2), quote("eth_usd", at=2))

    async with asyncio.timeout(60):
        assert [await notified.get(), await notified.get()] == ["1", "3"]
    assert notified.empty()
    await connection.close()


@pytest.mark.parametrize(
    "price",
    ["81110.428333", "0.0000012345678", "1.6433e-4", "101848.9", "7465.123456789012", "80000"],
)
async def test_a_price_comes_back_digit_for_digit(sessions: Sessions, price: str) -> None:
    await insert(sessions, quote(price=price))

    (stored,) = await log(sessions)
    assert stored.price == Decimal(price)
    assert format(stored.price, "f") == format(Decimal(price), "f")


@given(
    price=st.decimals(min_value="1e-20", max_value="1e20", allow_nan=False, allow_infinity=False)
)
@hypothesis_settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_every_price_above_zero_comes_back_as_it_was(
    sessions: Sessions, price: Decimal
) -> None:
    async with sessions() as session:  # never committed, so that each example finds no row
        await store.insert(session, [quote(price=str(price))])

        (stored,) = await store.newest(session, ["btc_usd"])

    assert stored.price == price


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
async def test_the_table_itself_refuses_what_is_no_price(sessions: Sessions, price: str) -> None:
    with pytest.raises(RejectedError):
        await insert(sessions, quote(price=price))


async def test_backfilled_quotes_are_numbered_but_never_streamed(
    sessions: Sessions,
) -> None:
    await insert(sessions, quote(at=1), quote(at=2, origin=Origin.BACKFILLED), quote(at=3))

    assert [each.seq for each in await log(sessions)] == [1, 3]
    async with sessions() as session:
        page = await store.page(session, store.Span("btc_usd"), limit=10)
    assert [each.seq for each in page] == [1, 2, 3]


async def test_the_newest_quote_is_that_of_the_newest_minute_not_of_the_last_commit(
    sessions: Sessions,
) -> None:
    await insert(sessions, quote(at=5), quote("eth_usd", at=1))
    await insert(sessions, quote(at=2, origin=Origin.REPAIRED))

    async with sessions() as session:
        newest = await store.newest(session, ["btc_usd", "eth_usd", "sol_usd"])

    assert names(newest) == [("eth_usd", 1), ("btc_usd", 5)]


async def test_tickers_are_found_without_reading_their_quotes(sessions: Sessions) -> None:
    await insert(
        sessions, *(quote(ticker, at) for ticker in ("b_usd", "a_usd") for at in range(50))
    )

    async with sessions() as session:
        assert list(await store.tickers(session)) == ["a_usd", "b_usd"]


async def test_a_later_failure_of_a_minute_replaces_the_cause_and_counts_the_attempts(
    sessions: Sessions,
) -> None:
    async def fail(cause: str) -> None:
        async with sessions.begin() as session:
            failure = Failure(
                ticker="btc_usd",
                minute=minute(1),
                cause=cause,
                message=f"it was {cause}",
                failed_at=datetime.now(UTC),
                attempts=1,
            )
            await minutes.record_failures(session, [failure])

    await fail("TIMEOUT")
    await fail("UNAVAILABLE")

    async with sessions() as session:
        (failure,) = await store.last_failures(session, ["btc_usd", "eth_usd"])
    assert (failure.cause, failure.attempts) == ("UNAVAILABLE", 2)


async def test_sixteen_writers_lose_and_double_nothing_for_a_reader_that_follows_seq(
    sessions: Sessions,
) -> None:
    """A plain serial loses a fifth here: its numbers become visible out of order."""
    writers, count = 16, 25
    written = {("eth_usd", at) for at in range(count)} | {
        (f"t{writer}_usd", at) for writer in range(writers) for at in range(count)
    }

    async def write(writer: int) -> None:
        for at in range(count):  # each a ticker of its own, and one that all of them fight for
            await insert(sessions, quote(f"t{writer}_usd", at), quote("eth_usd", at))

    async def read() -> list[tuple[int, str, int]]:
        seen: list[tuple[int, str, int]] = []
        while len(seen) < len(written):
            new = await log(sessions, after=seen[-1][0] if seen else 0)
            seen += [(each.seq, *name) for each, name in zip(new, names(new), strict=True)]
        return seen

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(read())
        for writer in range(writers):
            tasks.create_task(write(writer))

    seen = reader.result()
    assert [seq for seq, _, _ in seen] == list(range(1, len(written) + 1))
    assert {(ticker, at) for _, ticker, at in seen} == written
