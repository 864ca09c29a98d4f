"""Who may query where access tokens are required."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from client import Client, serving
from rows import insert, quote

from quotes.database import tokens
from quotes.database.sessions import Sessions
from quotes.settings import Settings

LATEST = '{ latestPrice(ticker: "BTC") { price } }'
DAY = '{ prices(ticker: "BTC", date: "2026-01-31") { nodes { at price } } }'
STREAM = "subscription { priceUpdates { price } }"
TOKEN, OTHER = "qt_first", "qt_second"
WRONG = [
    None,
    "",
    TOKEN,
    f"Bearer {TOKEN}x",
    "Bearer",
    f"Basic {TOKEN}",
    "Bearer ü",
]


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    await insert(sessions, quote())
    for name, token in (("first", TOKEN), ("second", OTHER)):
        assert await sessions.transact(partial(tokens.add, name=name, token=token))
    closed = {"access": "token", "max_sockets_per_address": 2}
    async with serving(settings.model_copy(update=closed)) as client:
        yield client


def bearing(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": token}


async def posted(client: Client, headers: dict[str, str], query: str = LATEST) -> tuple[int, Any]:
    async with client.http.post(
        f"{client.url}/graphql", json={"query": query}, headers=headers
    ) as response:
        return response.status, await response.json(content_type=None)


@pytest.mark.parametrize("sent", WRONG)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_without_a_token_nothing_is_answered(
    client: Client, sent: str | None, accept: str
) -> None:
    await posted(client, bearing(f"Bearer {TOKEN}"))  # the cache has the answer now

    async with client.http.post(
        f"{client.url}/graphql",
        json={"query": LATEST},
        headers={"Accept": accept, **bearing(sent)},
    ) as response:
        body = await response.json()

    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="quotes"'
    assert body["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}
    assert "data" not in body


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_a_token_s_holder_is_answered_from_the_database_and_from_the_cache(
    client: Client, scheme: str
) -> None:
    for _ in range(2):
        status, body = await posted(client, bearing(f"{scheme} {TOKEN}"))

        assert (status, body) == (200, {"data": {"latestPrice": {"price": "100000.5"}}})


async def test_health_and_pages_stay_open(client: Client) -> None:
    assert (await client.report("/healthz"))[0] == 200
    async with client.http.get(f"{client.url}/graphql", headers={"Accept": "text/html"}) as page:
        assert page.status == 200
    async with client.http.options(f"{client.url}/graphql") as options:
        assert options.status == 204


async def test_a_holder_s_answers_are_for_no_shared_cache(client: Client) -> None:
    async with client.http.get(
        f"{client.url}/graphql", params={"query": DAY}, headers=bearing(f"Bearer {TOKEN}")
    ) as response:
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert "Authorization" in response.headers["Vary"]


PAYLOADS = [None, {}, {"authorization": TOKEN}, {"authorization": f"Bearer {TOKEN}x"}, {"a": [1]}]


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_a_socket_without_a_token_is_closed_with_4403(
    client: Client, payload: dict[str, object] | None
) -> None:
    async with client.socket() as socket:
        await socket.send_json({"type": "connection_init", "payload": payload})
        await socket.receive(timeout=60)

        assert socket.close_code == 4403


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        ({}, {"Authorization": f"Bearer {TOKEN}"}),
        ({}, {"authorization": f"bearer {TOKEN}", "more": 1}),
        ({"Authorization": f"Bearer {TOKEN}"}, None),
    ],
)
async def test_a_socket_brings_its_token_in_the_payload_or_the_handshake(
    client: Client, headers: dict[str, str], payload: dict[str, object] | None
) -> None:
    async with client.http.ws_connect(
        f"{client.url}/graphql", protocols=["graphql-transport-ws"], headers=headers
    ) as socket:
        await socket.send_json({"type": "connection_init", "payload": payload})

        assert await socket.receive_json(timeout=60) == {"type": "connection_ack"}


async def open_socket(client: Client, token: str) -> Any:
    socket = await client.http.ws_connect(
        f"{client.url}/graphql", protocols=["graphql-transport-ws"]
    )
    await socket.send_json(
        {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}
    )
    assert await socket.receive_json(timeout=60) == {"type": "connection_ack"}
    return socket


async def test_removing_a_token_ends_what_its_holder_has_open_and_nothing_else(
    client: Client, sessions: Sessions
) -> None:
    mine, other = [await open_socket(client, token) for token in (TOKEN, OTHER)]
    events = await client.http.post(
        f"{client.url}/graphql",
        json={"query": STREAM},
        headers={"Accept": "text/event-stream", **bearing(f"Bearer {TOKEN}")},
    )
    assert b"retry" in await events.content.readline()

    await sessions.transact(partial(tokens.remove, name="first"))
    await client.state.streams.access.read()  # as it does every few seconds

    async with asyncio.timeout(60):
        await mine.receive()
        await events.content.read()
    assert mine.close_code == 4403
    assert (await posted(client, bearing(f"Bearer {TOKEN}")))[0] == 401
    await other.send_json({"type": "ping"})
    assert await other.receive_json(timeout=60) == {"type": "pong"}
    await other.close()


async def test_a_token_has_as_many_sockets_as_an_address_may(client: Client) -> None:
    first = await open_socket(client, TOKEN)
    client.state.streams.connection_limits._most_of_an_address = 10  # only the token's is met
    second = await open_socket(client, TOKEN)

    third = await open_socket(client, TOKEN)
    await third.receive(timeout=60)

    assert third.close_code == 1013
    for socket in (first, second):
        await socket.close()


async def test_a_token_is_in_no_log(
    client: Client, capfd: pytest.CaptureFixture[str], sessions: Sessions
) -> None:
    await posted(client, bearing(f"Bearer {TOKEN}"), "{ nope }")
    await posted(client, bearing(f"Bearer {TOKEN}x"))
    socket = await open_socket(client, TOKEN)
    await sessions.transact(partial(tokens.remove, name="first"))
    await client.state.streams.access.read()
    await socket.close()

    out, err = capfd.readouterr()
    assert "token_removed" in out + err
    assert TOKEN not in out + err


NEARLY_RIGHT = (
    ("query", "{ latestPrise }"),
    ("query", '{ latestPrice(ticker: "BTC", maxAg: "1m") { price } }'),
    ("query ($word: Intervall)", '{ candles(ticker: "BTC", interval: $word) { open } }'),
    ("query ($word: Fill)", '{ candles(ticker: "BTC", interval: "1d", fill: $word) { open } }'),
    ("subscription", "{ priceUpdate { price } }"),
)


async def test_introspection_and_the_explorer_can_be_switched_off(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote())
    async with serving(settings.model_copy(update={"introspection": False})) as client:
        for query in ("{ __schema { types { name } } }", '{ a: __type(name: "Quote") { name } }'):
            code, sentence = await client.refusal(query)
            assert (code, "schema" in sentence) == ("BAD_INPUT", True)
        for kind, query in NEARLY_RIGHT:
            _, sentence = await client.refusal(f"{kind} {query}", word="ABSENT")
            async with client.subscription(f"{kind} {query}", word="ABSENT") as operation:
                answer = await operation.message()
            assert (answer["type"], "mean" in f"{sentence} {answer}") == ("error", False)
        async with client.http.get(
            f"{client.url}/graphql", headers={"Accept": "text/html"}
        ) as page:
            assert page.status == 404
        assert await client.data(LATEST) == {"price": "100000.5"}
        assert json.dumps(await client.data("{ __typename }")) == '"Query"'
