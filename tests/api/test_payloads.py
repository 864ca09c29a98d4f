"""What is executed once for many is what each would have had alone."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any
from weakref import ReferenceType, ref

import pytest
from client import Client, Subscription, serving
from rows import insert, log, quote, seq_of

from quotes.api.context import Context
from quotes.api.plans import subscriptions
from quotes.api.schema import schema
from quotes.database import connections
from quotes.database.collected import Collected
from quotes.database.models import Quote
from quotes.database.sessions import Sessions
from quotes.live.feed import open_feed
from quotes.live.newest import Newest
from quotes.live.single_flight import SingleFlight
from quotes.live.snapshots import Snapshot
from quotes.server.access import Access
from quotes.server.graphql_request import Operation
from quotes.server.lifespan import open_streams
from quotes.server.operations import Streams
from quotes.server.streams.operation_sink import OperationSink
from quotes.settings import Settings


@pytest.fixture
async def streams(settings: Settings, sessions: Sessions) -> AsyncIterator[Streams]:
    url = settings.require_database_url()
    async with (
        connections.open_pool(url, name="test", size=2) as queries,
        open_feed(sessions, connections.connector(url, name="feed"), sessions) as (feed, _),
    ):
        await feed.position()
        single_flight = SingleFlight(feed)
        newest = Newest(feed, sessions, single_flight)
        collected = Collected(settings.selection, sessions)
        context = Context(
            settings, sessions, queries, sessions, feed, single_flight, newest, collected
        )
        access = Access(sessions, required=False, most_sockets=1)
        async with open_streams(context, access, lambda _: None) as streams:
            yield streams


BOTH = """
    subscription A { priceUpdates(after: "s0") { price } }
    subscription B { priceUpdates(after: "s0") { __typename at timestamp origin source } }
"""
FRAGMENTS = """
    subscription { ...Root }
    fragment Root on Subscription {
      priceUpdates(after: "s0") { ...Fields ... on Quote { observedAt exactTime } }
    }
    fragment Fields on Quote { cursor }
"""
VARIABLES = """
    subscription ($a: String, $some: [Ticker!], $long: Boolean = false) {
      priceUpdates(after: $a, tickers: $some) {
        price at @include(if: $long) source @skip(if: $long)
      }
    }
"""
ONE = 'subscription ($some: [Ticker!]!) { priceUpdates(after: "s0", tickers: $some) { cursor } }'
DOCUMENTS: list[tuple[str, str | None, dict[str, Any]]] = [
    ('subscription { priceUpdates(after: "s0") { ticker price cursor } }', None, {}),
    ('subscription { mine: priceUpdates(after: "s0") { p: price c: cursor } }', None, {}),
    (BOTH, "B", {}),
    (FRAGMENTS, None, {}),
    (VARIABLES, None, {"a": "s0", "some": ["BTC"], "long": True}),
    (VARIABLES, None, {"a": "s0", "some": None}),
    (ONE, None, {"some": "eth"}),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: f"{document}"[-90:])
async def test_a_shared_payload_is_what_the_ordinary_execution_gives(
    streams: Streams, sessions: Sessions, document: tuple[str, str | None, dict[str, Any]]
) -> None:
    query, name, variables = document
    await insert(sessions, *(quote(each, at) for at in range(3) for each in ("btc_usd", "eth_usd")))
    ordinary: Any = await schema.subscribe(
        query, variable_values=variables, operation_name=name, context_value=streams.context
    )
    alone = [(await anext(ordinary)).data for _ in range(3)]
    await ordinary.aclose()

    for _ in range(2):
        assert await payloads(streams, Operation(query, name, variables), 3) == [
            {"data": data} for data in alone
        ]


class Connection:
    """A connection that takes all, and gives each message to whoever waits for it."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    def try_write(self, message: bytes) -> bool:
        self.messages.put_nowait(message)
        return True

    def try_write_all(self, messages: Sequence[bytes]) -> bool:
        return all(self.try_write(message) for message in messages)

    async def room(self) -> None:
        raise AssertionError


async def payloads(streams: Streams, operation: Operation, count: int) -> list[Any]:
    assert subscriptions.shared(operation.query, operation.name, operation.variables)
    connection = Connection()
    sink = OperationSink(connection, lambda payload, cursor: payload)
    delivering = asyncio.create_task(streams.deliver(operation, sink))
    async with asyncio.timeout(60):
        taken = [json.loads(await connection.messages.get()) for _ in range(count)]
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)
    return taken


async def test_subscribers_that_differ_only_in_where_they_begin_share_one_selection(
    streams: Streams,
) -> None:
    query = """
        subscription ($a: String, $b: Boolean = true) {
          priceUpdates(after: $a) { price at @include(if: $b) }
        }
    """

    def selection(**variables: object) -> object:
        updates = subscriptions.shared(query, None, variables)
        assert updates is not None
        return updates.shown

    first = selection(a="s1")

    assert selection(a="s2") == first
    assert selection() == first
    assert selection(a="s1", b=False) != first


def test_documents_that_select_the_same_share_their_payloads() -> None:
    queries = [
        "subscription { priceUpdates { price at } }",
        """subscription A($t: [Ticker!]) { priceUpdates(tickers: $t) { ...F } }
           fragment F on Quote { price at }""",
        "subscription { priceUpdates { at price } }",
        "subscription { a: priceUpdates { price at } }",
    ]

    one, same, *others = [shown(query) for query in queries]

    assert one == same
    assert hash(one) == hash(same)
    assert one not in others


def shown(query: str) -> subscriptions.Shown:
    shared = subscriptions.shared(query, None, None)
    assert shared is not None
    return shared.shown


async def test_a_payload_is_made_anew_after_a_second_so_that_its_age_is_true(
    streams: Streams, sessions: Sessions
) -> None:
    await insert(sessions, quote())
    (kept,) = await log(sessions)
    updates = subscriptions.shared("subscription { priceUpdates { ageSeconds } }", None, None)
    assert updates is not None
    clock = 1_000.0
    streams.payloads.clock = lambda: clock

    first = streams.payloads.of_quote(updates.shown, kept)
    again = streams.payloads.of_quote(updates.shown, kept)
    clock += 1.5
    later = streams.payloads.of_quote(updates.shown, kept)

    assert again is first
    assert later is not first


async def test_a_subscription_does_not_hold_the_snapshot_that_it_began_with(
    streams: Streams, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[ReferenceType[Quote]] = []
    read = Snapshot.read

    async def remembered(snapshot: Snapshot) -> tuple[int, Sequence[Quote]]:
        end, quotes = await read(snapshot)
        begun.extend(ref(each) for each in quotes)
        return end, quotes

    monkeypatch.setattr(Snapshot, "read", remembered)
    await insert(sessions, quote())
    connection = Connection()
    sink = OperationSink(connection, lambda payload, cursor: payload)
    operation = Operation("subscription { priceUpdates { price } }", None, None)
    delivering = asyncio.create_task(streams.deliver(operation, sink))
    await connection.messages.get()
    streams.context.single_flight._stored.clear()  # which shares it with whoever comes next

    gc.collect()

    assert [each() for each in begun] == [None]
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)


async def test_many_who_come_at_once_all_begin_with_the_newest_and_go_on(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=1), quote("eth_usd", at=1), quote(at=2))
    query = "subscription { priceUpdates { cursor } }"
    async with serving(settings) as client, AsyncExitStack() as stack:
        everyone = [await stack.enter_async_context(client.subscription(query)) for _ in range(100)]
        begun = [[await number(each), await number(each)] for each in everyone]

        await insert(sessions, quote(at=3))

        assert begun == [[2, 3]] * 100
        assert [await number(each) for each in everyone] == [4] * 100


async def number(updates: Subscription) -> int:
    return seq_of((await updates.next())["cursor"])


SAMPLED = """
    subscription ($i: Int, $after: String) {
      priceUpdates(minInterval: $i, after: $after) { ticker cursor }
    }
"""


async def test_conflation_gives_the_newest_of_each_ticker_and_its_cursors_go_on(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(
        sessions, *(quote(each, at) for at in range(50) for each in ("btc_usd", "eth_usd"))
    )
    async with serving(settings) as client:
        async with client.subscription(SAMPLED, i=1, after="s0") as updates:
            first = [await updates.next(), await updates.next()]
            await insert(sessions, *(quote(at=at) for at in range(50, 60)), quote("eth_usd", 50))
            await insert(sessions, quote(at=60))
            second = [await updates.next(), await updates.next()]

        await insert(sessions, quote(at=61))
        async with client.subscription(SAMPLED, after=second[-1]["cursor"]) as updates:
            resumed = await updates.next()

    assert [(each["ticker"], seq_of(each["cursor"])) for each in (*first, *second, resumed)] == [
        ("btc_usd", 99),
        ("eth_usd", 100),
        ("eth_usd", 102),
        ("btc_usd", 112),
        ("btc_usd", 113),
    ]


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


@pytest.mark.parametrize("seconds", [0, -1, 3601])
async def test_an_interval_out_of_bounds_is_refused(client: Client, seconds: int) -> None:
    async with client.subscription(SAMPLED, i=seconds) as updates:
        message = await updates.message()

    assert message["type"] == "error"
    assert message["payload"][0]["extensions"]["code"] == "BAD_INPUT"
    assert "3,600" in message["payload"][0]["message"]
    assert message["payload"][0]["path"] == ["priceUpdates"]
