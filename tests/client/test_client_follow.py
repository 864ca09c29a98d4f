"""Following the stream: from the newest, from a cursor, from a moment of the past."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal

import pytest
from client import Client, serving
from relay import relayed
from rows import NOON, insert, log, minute, quote, restore, seq_of, until

from quotes.client import AsyncClient, CursorLostError, Quote
from quotes.client.backoff import FIRST, LONGEST, Backoff
from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.settings import Settings

BACKFILLED = Origin.BACKFILLED
Key = tuple[str, datetime]


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[AsyncClient]:
    """Of a service whose tables are empty."""
    async with serving(settings) as service, AsyncClient(service.url) as client:
        yield client


async def some(stream: AsyncGenerator[Quote, None], count: int) -> list[Quote]:
    """The next so many."""
    async with asyncio.timeout(60):
        return [await anext(stream) for _ in range(count)]


async def begun(stream: AsyncGenerator[Quote, None], count: int) -> list[Quote]:
    """The first so many of a stream, which is then left."""
    async with aclosing(stream):
        return await some(stream, count)


def keys(quotes: list[Quote]) -> list[Key]:
    return [(each.ticker, each.at) for each in quotes]


async def test_a_stream_begins_with_the_newest_quotes_and_goes_on_with_each_new_one(
    client: AsyncClient, sessions: Sessions
) -> None:
    await insert(
        sessions, *(quote(name, at=at) for at in (0, 1) for name in ("btc_usd", "eth_usd"))
    )

    async with aclosing(client.follow()) as stream:
        first = await some(stream, 2)
        await insert(sessions, quote(at=2), quote("eth_usd", at=2))
        then = await some(stream, 2)

    assert sorted(keys(first)) == [("btc_usd", minute(1)), ("eth_usd", minute(1))]
    assert keys(then) == [("btc_usd", minute(2)), ("eth_usd", minute(2))]


async def test_a_stream_goes_on_after_any_cursor(client: AsyncClient, sessions: Sessions) -> None:
    await insert(sessions, *(quote(at=at) for at in range(5)), quote("eth_usd"))
    whole = await begun(client.follow(["BTC", "ETH"], after="s0"), 6)

    for place in range(5):
        rest = await begun(client.follow(after=whole[place].cursor), 5 - place)

        assert rest == whole[place + 1 :]


async def test_history_goes_over_into_the_stream_without_gap_or_duplicate(
    client: AsyncClient, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at) for at in range(-5, 10, 2)))
    await insert(sessions, *(quote("eth_usd", at=at, origin=BACKFILLED) for at in range(-5, 10)))

    async with aclosing(client.follow(since=NOON)) as stream:
        seen = await some(stream, 3)
        await insert(sessions, quote(at=2, origin=Origin.REPAIRED), quote(at=8))
        await insert(sessions, quote("eth_usd", at=10))
        past = [(name, at) for at in range(10) for name in ("btc_usd", "eth_usd")]
        past = [(name, at) for name, at in past if name == "eth_usd" or at % 2]
        seen += await some(stream, len(past) - len(seen) + 3)

    assert [(each.ticker, each.at) for each in seen] == [
        (name, minute(at)) for name, at in [*past, ("btc_usd", 2), ("btc_usd", 8), ("eth_usd", 10)]
    ]


async def test_a_history_goes_on_after_any_of_its_quotes(
    client: AsyncClient, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at, origin=BACKFILLED) for at in range(4)))
    await insert(sessions, *(quote("eth_usd", at=at) for at in range(4)))
    asked = ["ETH", "BTC", "btc_usd"]
    whole = await begun(client.follow(asked, since=NOON), 8)
    await insert(sessions, quote(at=4), quote("eth_usd", at=-4, origin=Origin.REPAIRED))
    later = [("eth_usd", minute(-4)), ("btc_usd", minute(4))]

    for place, each in enumerate(whole):
        rest = await begun(client.follow(asked, after=each.cursor, since=NOON), 9 - place)

        assert keys(rest) == keys(whole)[place + 1 :] + later


async def test_a_history_without_quotes_is_followed_by_the_stream(
    client: AsyncClient, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=0))

    async with aclosing(client.follow(["BTC", "ETH"], since=minute(1))) as stream:
        waiting = asyncio.create_task(some(stream, 1))
        await insert(sessions, quote(at=1))

        assert keys(await waiting) == [("btc_usd", minute(1))]


async def test_what_a_restore_has_taken_is_told_and_the_stream_goes_on(
    client: AsyncClient, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at) for at in range(3)))
    async with aclosing(client.follow(after="s0")) as stream:
        seen = await some(stream, 3)
        await restore(sessions, upto=1)
        await insert(sessions, *(quote(at=at, price="7.5") for at in (1, 2, 3)))

        with pytest.raises(CursorLostError, match="restored from an older copy") as caught:
            await some(stream, 1)

    lost = caught.value
    assert (lost.after, lost.last_minute) == (seen[-1].cursor, minute(2))
    assert lost.cursor is not None
    assert seq_of(lost.cursor) == 4
    await insert(sessions, quote(at=4))
    assert keys(await begun(client.follow(after=lost.cursor), 1)) == [("btc_usd", minute(4))]
    again = await begun(client.follow(since=lost.last_minute), 3)
    assert [(each.at, each.price) for each in again[:2]] == [
        (minute(2), Decimal("7.5")),
        (minute(3), Decimal("7.5")),
    ]


async def test_a_lost_cursor_that_was_stored_is_told_too(
    client: AsyncClient, sessions: Sessions
) -> None:
    await insert(sessions, quote())

    for stored in ("s1-00000000", f"h{int(NOON.timestamp())}/btc_usd/s1-00000000"):
        with pytest.raises(CursorLostError) as caught:
            await begun(client.follow(after=stored), 1)
        assert (caught.value.after, caught.value.last_minute) == (stored, None)


async def subscribed(service: Client) -> None:
    await until(lambda: service.state.streams.connection_limits.subscriptions == 1)


async def test_nothing_is_missed_though_the_connection_is_lost_before_the_first_quote(
    settings: Settings, sessions: Sessions
) -> None:
    async with (
        serving(settings) as service,
        relayed(service.url) as relay,
        AsyncClient(relay.url) as client,
        aclosing(client.follow()) as stream,
    ):
        waiting = asyncio.create_task(some(stream, 3))
        await subscribed(service)
        relay.close()
        await insert(sessions, quote(at=0), quote(at=1))
        relay.is_open = True
        await insert(sessions, quote(at=2))

        assert keys(await waiting) == [("btc_usd", minute(at)) for at in range(3)]


async def test_a_silent_connection_is_replaced_and_nothing_is_missed(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=0))
    async with (
        serving(settings) as service,
        relayed(service.url) as relay,
        AsyncClient(relay.url, silence=0.5) as client,
        aclosing(client.follow()) as stream,
    ):
        seen = await some(stream, 1)
        relay.fall_silent()
        await insert(sessions, quote(at=1), quote(at=2))
        seen += await some(stream, 2)
        await insert(sessions, quote(at=3))
        seen += await some(stream, 1)

    assert keys(seen) == [("btc_usd", minute(at)) for at in range(4)]


async def test_a_slow_reader_gets_everything(client: AsyncClient, sessions: Sessions) -> None:
    await insert(sessions, *(quote(at=at) for at in range(3_000)))

    async with aclosing(client.follow(after="s0")) as stream:
        seen = await some(stream, 1)
        await insert(sessions, *(quote("eth_usd", at=at) for at in range(3_000)))
        seen += await some(stream, 5_999)

    assert [seq_of(each.cursor) for each in seen] == list(range(1, 6_001))
    assert keys(seen) == [(each.ticker, each.minute) for each in await log(sessions)]


async def test_waits_between_attempts_are_random_and_bounded() -> None:
    backoff = Backoff()

    waits = [backoff.failed() for _ in range(1_000)]

    assert len(set(waits)) > 900
    assert max(waits) <= LONGEST
    assert max(waits[:1]) <= FIRST
    assert backoff.failed(retry_after=30.0) >= 30.0
    backoff.succeeded()
    assert backoff.failed() <= FIRST
