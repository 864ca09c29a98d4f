"""An answer is given again only while it is what would be answered now."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest
from planning import MIB, planning
from rows import insert, minute, quote, until

from quotes.api.plans import answers
from quotes.api.plans.plans import Plans
from quotes.database import indexes
from quotes.database.log import store
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions
from quotes.live.newest import BOUND
from quotes.settings import Settings

DAY = '{ prices(ticker: "BTC", date: "2026-01-31") { nodes { at price } } }'
CANDLES = """{ candles(ticker: "BTC", interval: "1h", from: "2026-01-31T10:00:00Z",
    to: "2026-01-31T14:00:00Z") { close count } }"""
SPARKLINES = '{ sparklines(tickers: ["BTC"]) { times prices } }'
SERIES = '{ series(ticker: "BTC", from: "2026-01-31T00:00:00Z") { times prices } }'
LATEST = '{ latestPrice(ticker: "BTC") { price at } }'
ALL = "{ latestPrices { ticker price } }"


@pytest.fixture
async def plans(settings: Settings, sessions: Sessions) -> AsyncIterator[Plans]:
    await insert(sessions, quote(at=0), quote(at=5), quote("eth_usd", 5))
    async with planning(settings, now=minute(24 * 60)) as plans:
        yield plans


async def body(plans: Plans, query: str) -> bytes:
    answer = await plans.answer(query, None, None)
    assert answer is not None
    return answer.body


async def committed(plans: Plans, sessions: Sessions, *quotes: Quote) -> None:
    """Keep them, and wait until this process knows."""
    await insert(sessions, *quotes)
    async with sessions() as session:
        await plans.context.feed.reach(await store.high_water(session))


@pytest.mark.parametrize("query", [DAY, CANDLES, SERIES, SPARKLINES, LATEST, ALL])
@pytest.mark.parametrize("origin", Origin)
async def test_a_row_that_changes_an_answer_changes_it_at_once(
    plans: Plans, sessions: Sessions, query: str, origin: Origin
) -> None:
    before = await body(plans, query)

    await committed(plans, sessions, quote(at=7, price="7", origin=origin))

    assert await body(plans, query) != before


@pytest.mark.parametrize("query", [DAY, CANDLES, SERIES, SPARKLINES, LATEST])
async def test_rows_of_another_ticker_or_day_leave_an_answer_as_it_is(
    plans: Plans, sessions: Sessions, query: str
) -> None:
    before = await plans.answer(query, None, None)

    await committed(plans, sessions, quote("eth_usd", 9))
    if query in {DAY, CANDLES}:
        await committed(plans, sessions, quote(at=3_000))

    assert await plans.answer(query, None, None) is before


async def test_what_depends_on_the_moment_is_answered_anew(plans: Plans) -> None:
    query = '{ latestPrice(ticker: "BTC") { price ageSeconds } }'

    assert await plans.answer(query, None, None) is not await plans.answer(query, None, None)


async def test_a_candle_under_way_is_answered_anew_each_minute(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=0))
    query = '{ candles(ticker: "BTC", interval: "1h") { coverage } }'
    clock = [minute(1)]
    async with planning(settings, now=lambda: clock[0]) as plans:
        first = await plans.answer(query, None, None)
        assert await plans.answer(query, None, None) is first

        clock[0] = minute(2)

        assert await body(plans, query) == b'{"data":{"candles":[{"coverage":0.5}]}}'


async def test_what_many_request_at_once_is_read_once_until_the_next_commit(
    plans: Plans, sessions: Sessions
) -> None:
    async with every_connection(plans):
        first = asyncio.create_task(plans.answer(DAY, None, None))
        await plans.context.feed.current(BOUND)
        others = [asyncio.create_task(plans.answer(DAY, None, None)) for _ in range(20)]
        await committed(plans, sessions, quote(at=7))
        later = asyncio.create_task(plans.answer(DAY, None, None))
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        answers = await asyncio.gather(first, *others)

        assert len({id(answer) for answer in answers}) == 1
        assert await later is not answers[0]


async def test_what_depends_on_the_moment_is_read_by_each_for_itself(plans: Plans) -> None:
    query = '{ prices(ticker: "BTC") { nodes { ageSeconds } } }'
    async with every_connection(plans):
        reading = [asyncio.create_task(plans.answer(query, None, None)) for _ in range(3)]
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*reading)

    assert len({id(answer) for answer in answers}) == 3


async def test_a_read_that_is_given_up_leaves_the_others_to_read_for_themselves(
    plans: Plans,
) -> None:
    async with every_connection(plans):
        first, *others = [asyncio.create_task(plans.answer(DAY, None, None)) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        others[0].cancel()
        await asyncio.gather(first, return_exceptions=True)
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*others[1:])

    assert None not in answers
    assert not plans.reads


@asynccontextmanager
async def every_connection(plans: Plans) -> AsyncIterator[None]:
    """Held, so that what is to be read waits."""
    pool = plans.context.queries
    connections = [await pool.acquire() for _ in range(pool.get_max_size())]
    try:
        yield
    finally:
        for connection in connections:
            await pool.release(connection)


async def test_what_an_answer_is_compressed_to_counts_as_well(plans: Plans) -> None:
    answer = await plans.answer(DAY, None, None)
    assert answer is not None
    before = plans.answers.size

    plans.answers.add(answer, "gzip", b"x" * 1_000)
    plans.answers.add(answer, "gzip", b"x" * 1_000)
    assert plans.answers.size == before + 1_000

    plans.answers.add(answer, "zstd", b"x" * MIB)
    assert plans.answers.size == 0


async def test_no_more_is_kept_than_there_is_room_for(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=0))
    async with planning(settings, now=datetime.now(UTC), room=10_000) as plans:
        asked = [f'{{ a{n}: latestPrice(ticker: "BTC") {{ price }} }}' for n in range(50)]
        answers = [await plans.answer(query, None, None) for query in asked]

        assert 0 < plans.answers.size <= 10_000
        assert await plans.answer(asked[-1], None, None) is answers[-1]
        assert await plans.answer(asked[0], None, None) is not answers[0]


async def test_a_long_answer_is_cached_once_its_request_has_come_again(
    plans: Plans, sessions: Sessions
) -> None:
    await committed(plans, sessions, *(quote(at=at) for at in range(10, 500)))

    first, second, third = [await plans.answer(DAY, None, None) for _ in range(3)]

    assert first is not second
    assert second is third
    await committed(plans, sessions, quote(at=500))
    fourth = await plans.answer(DAY, None, None)
    assert fourth is not third
    assert await plans.answer(DAY, None, None) is fourth


async def test_long_answers_that_are_requested_once_drop_nothing_that_others_request(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at) for at in range(500)))
    async with planning(settings, now=minute(24 * 60), room=100_000) as plans:
        latest = await plans.answer(LATEST, None, None)
        for number in range(20):
            await body(plans, f"query Q{number} {DAY}")

        assert await plans.answer(LATEST, None, None) is latest


async def test_what_is_remembered_of_long_answers_is_bounded(
    plans: Plans, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LONG", 0)
    monkeypatch.setattr(answers, "MAX_REQUESTED", 2)
    for query in (LATEST, DAY, ALL):  # the first is forgotten
        await body(plans, query)

    for query, cached in ((DAY, True), (ALL, True), (LATEST, False)):
        answer = await plans.answer(query, None, None)

        assert answer is not None
        assert answer.cached is cached


async def test_an_answer_that_was_read_while_the_list_changed_is_not_given_again(
    settings: Settings, sessions: Sessions
) -> None:
    query = '{ prices(ticker: "ETH") { nodes { price collected } } }'
    await insert(sessions, quote("eth_usd"))
    await listed(sessions, "btc_usd", "eth_usd")
    patterns = settings.model_copy(update={"tickers": ("*_usd",)})
    async with planning(patterns, now=minute(24 * 60)) as plans, AsyncExitStack() as taken:
        await plans.context.collection.read()
        pool = plans.context.queries
        for _ in range(pool.get_max_size()):
            await taken.enter_async_context(pool.acquire())
        reading = asyncio.create_task(body(plans, query))
        await until(lambda: bool(plans.reads))
        await listed(sessions, "btc_usd")
        await plans.context.collection.read()
        await taken.aclose()

        assert b"true" in await reading
        assert b"false" in await body(plans, query)


async def listed(sessions: Sessions, *names: str) -> None:
    async with sessions.begin() as session:
        await indexes.replace(session, names)
