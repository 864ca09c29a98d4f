"""The rules of graphql-transport-ws, and what becomes of a client that breaks them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from client import PROTOCOL, Client, serving
from rows import cursor, insert, quote

from quotes.database.sessions import Sessions
from quotes.server.protocol.websocket import text_frame
from quotes.server.streams import websocket
from quotes.settings import Settings

UPDATES = 'subscription { priceUpdates(after: "s0") { cursor } }'
TICKERS = "{ tickers { name } }"


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    few = {"max_operations": 3, "max_sockets_per_address": 4}
    async with serving(settings.model_copy(update=few)) as client:
        yield client


def subscribe(query: str, identity: str = "1", **more: object) -> dict[str, Any]:
    return {"id": identity, "type": "subscribe", "payload": {"query": query, **more}}


async def closing(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    """The code and the reason that the server closes with, whatever it sends before."""
    async with asyncio.timeout(60):
        while (message := await socket.receive()).type is not aiohttp.WSMsgType.CLOSE:
            assert message.type is aiohttp.WSMsgType.TEXT, message
    return socket.close_code, message.extra or ""


async def received(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    message: dict[str, Any] = await socket.receive_json(timeout=60)
    return message


DEEP = "[" * 50_000
MALFORMED = [
    "no JSON",
    "null",
    "7",
    '"text"',
    "[]",
    "{}",
    '{"type": null}',
    '{"type": 7}',
    '{"type": "unheard of"}',
    '{"type": "connection_init", "payload": 7}',
    '{"type": "connection_init", "payload": [1]}',
    '{"type": "connection_init", "payload": {"n": NaN}}',
    '{"type": "connection_init", "payload": {"n": %s}}' % ("9" * 10_000),
    '{"type": "ping", "payload": "text"}',
    '{"type": "complete"}',
    '{"type": "complete", "id": 7}',
    DEEP,
]
MALFORMED_SUBSCRIBES = [
    {"type": "subscribe"},
    {"type": "subscribe", "id": "1"},
    {"type": "subscribe", "id": "1", "payload": None},
    {"type": "subscribe", "id": 1, "payload": {"query": TICKERS}},
    {"type": "subscribe", "id": None, "payload": {"query": TICKERS}},
    {"type": "subscribe", "id": "", "payload": {"query": TICKERS}},
    {"type": "subscribe", "id": "x" * 10_000, "payload": {"query": TICKERS}},
    {"type": "subscribe", "id": "1", "payload": {}},
    {"type": "subscribe", "id": "1", "payload": {"query": None}},
    {"type": "subscribe", "id": "1", "payload": {"query": 7}},
    {"type": "subscribe", "id": "1", "payload": {"query": TICKERS, "variables": "text"}},
    {"type": "subscribe", "id": "1", "payload": {"query": TICKERS, "variables": [1]}},
    {"type": "subscribe", "id": "1", "payload": {"query": TICKERS, "operationName": 7}},
    {"type": "subscribe", "id": "1", "payload": {"query": TICKERS, "extensions": 7}},
]


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:50])
async def test_a_malformed_message_closes_its_socket_with_4400(client: Client, text: str) -> None:
    async with client.socket() as socket:
        await socket.send_str(text)

        code, reason = await closing(socket)

    assert code == 4400
    assert 0 < len(reason.encode()) <= 123
    assert await client.data(TICKERS)


@pytest.mark.parametrize("message", MALFORMED_SUBSCRIBES, ids=lambda message: str(message)[:120])
async def test_a_malformed_subscribe_closes_its_socket_with_4400(
    client: Client, message: dict[str, Any]
) -> None:
    async with client.acknowledged_socket() as socket:
        await socket.send_json(message)

        assert (await closing(socket))[0] == 4400


async def test_a_binary_message_closes_its_socket_with_4400(client: Client) -> None:
    async with client.socket() as socket:
        await socket.send_bytes(b'{"type": "connection_init"}')

        assert (await closing(socket))[0] == 4400


async def test_what_is_no_utf_8_or_too_large_closes_its_socket_and_no_other(
    client: Client, sessions: Sessions
) -> None:
    async with client.subscription(UPDATES) as updates:
        for payload, code in ((b"\xff\xfe", 1007), (b" " * 200_000, 1009)):
            async with client.socket() as socket:
                await socket.send_frame(payload, aiohttp.WSMsgType.TEXT)
                assert (await closing(socket))[0] == code

        await insert(sessions, quote(at=1))

        assert await updates.next() == {"cursor": cursor(1, quote(at=1))}


async def test_an_initialisation_may_come_with_any_object_or_null_as_payload(
    client: Client,
) -> None:
    for payload in (None, {}, {"token": "x"}):
        async with client.socket() as socket:
            await socket.send_json({"type": "connection_init", "payload": payload})
            assert await received(socket) == {"type": "connection_ack"}


async def test_who_subscribes_before_the_acknowledgement_is_closed_with_4401(
    client: Client,
) -> None:
    async with client.socket() as socket:
        await socket.send_json(subscribe(TICKERS))

        assert await closing(socket) == (4401, "Unauthorized")


async def test_who_does_not_initialise_in_time_is_closed_with_4408(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "INIT_TIMEOUT", 0.05)
    async with client.socket() as socket:
        assert await closing(socket) == (4408, "Connection initialisation timeout")


async def test_an_id_in_use_is_closed_with_4409_and_a_reason_that_fits(client: Client) -> None:
    async with client.acknowledged_socket() as socket:
        for _ in range(2):
            await socket.send_json(subscribe(UPDATES, "é" * 200))

        code, reason = await closing(socket)

    assert code == 4409
    assert reason.startswith("Subscriber for éé")
    assert len(reason.encode()) <= 123


async def test_a_second_initialisation_is_closed_with_4429(client: Client) -> None:
    async with client.acknowledged_socket() as socket:
        await socket.send_json({"type": "connection_init"})

        assert await closing(socket) == (4429, "Too many initialisation requests")


async def test_another_subprotocol_or_none_is_closed_with_4406(client: Client) -> None:
    for protocol in ("graphql-ws", "chat"):
        async with client.socket(protocol) as socket:
            assert (await closing(socket))[0] == 4406


async def test_a_ping_is_answered_and_a_pong_is_taken_at_any_time(client: Client) -> None:
    async with client.socket() as socket:
        await socket.send_json({"type": "pong"})
        await socket.send_json({"type": "ping", "payload": {"at": 1}})
        assert await received(socket) == {"type": "pong"}

        await socket.send_json({"type": "connection_init"})
        assert await received(socket) == {"type": "connection_ack"}
        await socket.send_json({"type": "ping"})
        assert await received(socket) == {"type": "pong"}


async def test_a_query_is_answered_with_one_next_and_complete(client: Client) -> None:
    async with client.acknowledged_socket() as socket:
        await socket.send_json(subscribe(TICKERS, "a"))

        names = [{"name": "btc_usd"}, {"name": "eth_usd"}]
        assert await received(socket) == {
            "id": "a",
            "type": "next",
            "payload": {"data": {"tickers": names}},
        }
        assert await received(socket) == {"id": "a", "type": "complete"}


@pytest.mark.parametrize(
    ("query", "more", "words"),
    [
        ("{", {}, "Syntax Error"),
        ("", {}, "query"),
        ("{ nope }", {}, "nope"),
        ("subscription { nope }", {}, "nope"),
        ("query A { tickers { name } }", {"operationName": "B"}, "B"),
        (UPDATES, {"operationName": "B"}, "B"),
        ("fragment F on Quote { price }", {}, "operation type"),
        ("subscription ($a: [Ticker!]!) { priceUpdates(tickers: $a) { price } }", {}, "$a"),
        ("mutation { nope }", {}, "mutation"),
        ("{ a: tickers { name } " + "b: tickers { name } " * 1_000 + "}", {}, "token"),
        ("{ " + "tickers { " * 900 + "}" * 901, {}, "too deeply"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_wrong_with_one_operation_is_one_error_and_ends_no_other(
    client: Client, sessions: Sessions, query: str, more: dict[str, Any], words: str
) -> None:
    async with client.acknowledged_socket() as socket:
        await socket.send_json(subscribe(UPDATES, "good"))
        await socket.send_json(subscribe(query, "bad", **more))

        failed = await received(socket)

        assert (failed["id"], failed["type"]) == ("bad", "error")
        assert words in failed["payload"][0]["message"]
        assert failed["payload"][0]["extensions"]["code"] == "BAD_INPUT"
        await insert(sessions, quote(at=1))
        assert (await received(socket))["id"] == "good"


async def test_variables_nested_beyond_reason_are_one_error(client: Client) -> None:
    query = "subscription ($t: [Ticker!]) { priceUpdates(tickers: $t) { price } }"
    deep = '{"id":"1","type":"subscribe","payload":{"query":%s,"variables":{"t":%s1%s}}}'
    async with client.acknowledged_socket() as socket:
        await socket.send_str(deep % (json.dumps(query), "[" * 800, "]" * 800))

        assert (await received(socket))["type"] == "error"


async def test_more_operations_than_a_socket_may_have_are_refused_one_by_one(
    client: Client,
) -> None:
    async with client.acknowledged_socket() as socket:
        for identity in "abcd":
            await socket.send_json(subscribe(UPDATES, identity))

        refused = await received(socket)

        assert (refused["id"], refused["type"]) == ("d", "error")
        assert refused["payload"][0]["extensions"]["code"] == "TOO_MANY"
        await socket.send_json({"id": "a", "type": "complete"})
        await socket.send_json(subscribe(TICKERS, "d"))
        assert (await received(socket))["type"] == "next"


async def test_after_complete_nothing_more_comes_and_the_id_is_free(
    client: Client, sessions: Sessions
) -> None:
    async with client.acknowledged_socket() as socket:
        await socket.send_json({"id": "never begun", "type": "complete"})
        for _ in range(50):
            await socket.send_json(subscribe(UPDATES, "a"))
            await socket.send_json({"id": "a", "type": "complete"})
        await insert(sessions, quote(at=1))
        await socket.send_json(subscribe(TICKERS, "a"))
        await socket.send_json({"type": "ping"})

        messages = [await received(socket) for _ in range(3)]

    assert [
        (message.get("id"), message["type"]) for message in messages if message["type"] != "pong"
    ] == [
        ("a", "next"),
        ("a", "complete"),
    ]


async def test_an_address_has_a_limit_of_connections_and_the_next_is_closed_with_1013(
    client: Client,
) -> None:
    async with (
        client.acknowledged_socket(),
        client.acknowledged_socket(),
        client.acknowledged_socket(),
        client.subscription(UPDATES),
    ):
        async with client.socket() as fifth:
            code, reason = await closing(fifth)
        _, report = await client.report("/readyz")

    assert code == 1013
    assert "address" in reason
    assert (report["connections"], report["subscriptions"]) == (4, 1)


async def test_connections_that_have_ended_leave_nothing_behind(
    client: Client, sessions: Sessions
) -> None:
    for _ in range(3):
        async with client.subscription(UPDATES), client.subscription(UPDATES):
            pass

    async def counts() -> tuple[int, int]:
        _, report = await client.report("/readyz")
        return report["connections"], report["subscriptions"]

    async with asyncio.timeout(60):
        while await counts() != (0, 0):  # nothing notifies of a socket's end
            pass


async def test_the_subprotocol_is_named_in_the_handshake(client: Client) -> None:
    async with client.socket("chat", PROTOCOL) as socket:
        assert socket.protocol == PROTOCOL


def test_a_frame_is_as_the_standard_defines_it() -> None:
    assert text_frame(b"x" * 125)[:2] == b"\x81\x7d"
    assert text_frame(b"x" * 126)[:4] == b"\x81\x7e\x00\x7e"
    assert text_frame(b"x" * 65_535)[:4] == b"\x81\x7e\xff\xff"
    assert text_frame(b"x" * 65_536)[:10] == b"\x81\x7f" + (65_536).to_bytes(8, "big")
