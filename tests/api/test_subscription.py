"""What a graphql-transport-ws client receives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest
from client import PROTOCOL, Client, serving
from rows import cursor, insert, quote, restore, seq_of

from quotes.api.execution import Execution
from quotes.api.schema import schema
from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.settings import Settings

UPDATES = """
    subscription ($tickers: [Ticker!], $after: String) {
      priceUpdates(tickers: $tickers, after: $after) { ticker price cursor }
    }
"""


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


async def test_a_subscriber_gets_the_newest_of_each_ticker_and_then_each_new_quote(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=1), quote("eth_usd", at=1), quote(at=2, price="2"))
    async with client.subscription(UPDATES) as updates:
        snapshot = [await updates.next(), await updates.next()]

        third = quote(at=3, price="3")
        await insert(sessions, third)

        assert {(each["ticker"], seq_of(each["cursor"])) for each in snapshot} == {
            ("eth_usd", 2),
            ("btc_usd", 3),
        }
        assert await updates.next() == {
            "ticker": "btc_usd",
            "price": "3",
            "cursor": cursor(4, third),
        }


async def test_after_resumes_with_all_that_was_missed_and_goes_on_live(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at) for at in range(5)))
    async with client.subscription(UPDATES, after=cursor(2, quote(at=1))) as updates:
        missed = [seq_of((await updates.next())["cursor"]) for _ in range(3)]

        await insert(sessions, quote(at=5))

        assert [*missed, seq_of((await updates.next())["cursor"])] == [3, 4, 5, 6]


async def test_a_subscriber_of_one_ticker_gets_only_that(
    client: Client, sessions: Sessions
) -> None:
    async with client.subscription(UPDATES, tickers=["eth"], after="s0") as updates:
        await insert(sessions, quote(at=1), quote("eth_usd", at=1))
        await insert(sessions, quote(at=2))
        await insert(sessions, quote("eth_usd", at=2))

        got = [await updates.next(), await updates.next()]

    assert [(each["ticker"], seq_of(each["cursor"])) for each in got] == [
        ("eth_usd", 2),
        ("eth_usd", 4),
    ]


async def test_the_snapshot_may_be_history_but_the_stream_carries_none(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=1, origin=Origin.BACKFILLED))
    async with client.subscription(UPDATES) as updates:
        assert seq_of((await updates.next())["cursor"]) == 1

        await insert(sessions, quote(at=2, origin=Origin.BACKFILLED))
        await insert(sessions, quote(at=3, origin=Origin.REPAIRED))

        assert seq_of((await updates.next())["cursor"]) == 3


@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({"after": cursor(7, quote())}, "CURSOR_LOST", "without `after`"),
        ({"after": "s7"}, "BAD_INPUT", "cursor"),
        ({"after": "s0-00000000"}, "BAD_INPUT", "cursor"),
        ({"after": "p1769860800"}, "BAD_INPUT", "cursor"),
        ({"after": "s-1"}, "BAD_INPUT", "cursor"),
        ({"after": "s99999999999999999999"}, "BAD_INPUT", "cursor"),
        ({"tickers": ["doge"]}, "UNKNOWN_TICKER", "doge_usd"),
        ({"tickers": ["b/c"]}, "BAD_INPUT", "base_quote"),
    ],
)
async def test_a_subscription_that_cannot_be_is_refused_with_a_code(
    client: Client, variables: dict[str, object], code: str, words: str
) -> None:
    async with client.subscription(UPDATES, **variables) as updates:
        message = await updates.message()

    errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
    assert errors[0]["extensions"]["code"] == code
    assert words in errors[0]["message"]


@pytest.mark.parametrize("origin", Origin)
async def test_after_a_restore_that_has_grown_past_a_cursor_the_cursor_is_refused(
    client: Client, sessions: Sessions, origin: Origin
) -> None:
    await insert(sessions, *(quote(at=at) for at in range(5)))
    seen = cursor(4, quote(at=3))
    await restore(sessions, upto=2)
    await insert(sessions, *(quote(at=at, price="7", origin=origin) for at in range(2, 9)))

    async with client.subscription(UPDATES, after=seen) as updates:
        message = await updates.message()

    assert message["payload"][0]["extensions"]["code"] == "CURSOR_LOST"


async def test_the_cursor_of_a_quote_that_a_restore_kept_goes_on(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at) for at in range(5)))
    await restore(sessions, upto=2)
    await insert(sessions, *(quote(at=at, price="7") for at in range(2, 9)))

    async with client.subscription(UPDATES) as updates:  # this process has read the new log
        assert (await updates.next())["price"] == "7"

    async with client.subscription(UPDATES, after=cursor(2, quote(at=1))) as updates:
        assert (await updates.next())["price"] == "7"


async def test_the_cursor_of_a_quote_of_history_goes_on(client: Client, sessions: Sessions) -> None:
    await insert(sessions, quote(at=1, origin=Origin.BACKFILLED), quote(at=2))

    async with client.subscription(UPDATES, after=cursor(1, quote(at=1))) as updates:
        assert seq_of((await updates.next())["cursor"]) == 2


async def test_a_subscriber_that_stays_connected_over_a_restore_is_sent_cursor_lost(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at) for at in range(5)))
    async with client.subscription(UPDATES, after=cursor(5, quote(at=4))) as updates:
        await insert(sessions, quote(at=5))
        assert seq_of((await updates.next())["cursor"]) == 6

        await restore(sessions, upto=2)
        await insert(sessions, *(quote(at=at, price="7") for at in range(2, 9)))
        message = await updates.message()

    assert message["type"] == "error"
    assert message["payload"][0]["extensions"]["code"] == "CURSOR_LOST"


async def test_what_graphql_core_caches_of_an_event_ends_with_it(
    client: Client, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the ordinary execution. Its executors share a cache that grows with each event."""
    caches = []
    original = Execution.build_per_event_executor

    def recording(self: Execution, payload: object) -> object:
        executor = original(self, payload)
        caches.append(executor._relevant_sub_fields)
        return executor

    monkeypatch.setattr(Execution, "build_per_event_executor", recording)
    await insert(sessions, quote(at=1), quote("eth_usd", at=1))

    events: Any = await schema.stream(UPDATES, context_value=client.state.context)
    async with aclosing(events):
        async for _ in events:
            if len(caches) == 2:
                break

    assert [len(each) for each in caches] == [1, 1]
    assert caches[0] is not caches[1]


async def test_a_foreign_page_may_not_subscribe(client: Client) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.http.ws_connect(
            f"{client.url}/graphql",
            protocols=[PROTOCOL],
            headers={"Origin": "https://elsewhere.example"},
        )

    assert refused.value.status == 403


async def test_subscribers_are_closed_with_1012_when_the_service_ends(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=1))
    async with aiohttp.ClientSession() as http:
        async with serving(settings) as service:
            socket = await http.ws_connect(f"{service.url}/graphql", protocols=[PROTOCOL])
            await socket.send_json({"type": "connection_init"})
            payload = {"query": UPDATES}
            await socket.receive_json()
            await socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
            assert (await socket.receive_json())["type"] == "next"

        async with asyncio.timeout(60):
            last = await socket.receive()
        assert (last.type, last.data) == (aiohttp.WSMsgType.CLOSE, 1012)
        await socket.close()
