"""What the cache answers past the other layers is what they would have answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain, pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from client import Client, serving
from rows import insert, quote

from quotes.database.sessions import Sessions
from quotes.settings import Settings

LATEST = '{ latestPrice(ticker: "BTC") { price at } }'
LONG_WAY = {"Content-Encoding": "identity"}  # means nothing; the shortcut leaves it


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    await insert(sessions, quote())
    async with serving(settings) as client:
        yield client


async def answered(
    client: Client, headers: dict[str, str], **body: object
) -> tuple[int, dict[str, str], bytes]:
    async with client.http.post(f"{client.url}/graphql", json=body, headers=headers) as response:
        same = {name: value for name, value in response.headers.items() if name != "Date"}
        return response.status, {**same, "date": ""}, await response.read()


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "application/graphql-response+json",
        "*/*",
        "application/graphql-response+json, application/json;q=0.9, text/event-stream",
        "text/event-stream",
        "image/png",
    ],
)
async def test_the_short_way_answers_as_the_long_one(client: Client, accept: str) -> None:
    bodies: list[dict[str, Any]] = [
        {"query": LATEST},
        {"query": LATEST, "variables": []},
        {"query": LATEST, "operationName": "None"},
        {"query": LATEST, "variables": {"unused": 2**70}},
        {"query": "{ nope }"},
        {"query": "subscription { priceUpdates { price } }", "variables": 1},
        {},
    ]
    for body in bodies:
        first, second, long = [
            await answered(client, {"Accept": accept, **way}, **body) for way in ({}, {}, LONG_WAY)
        ]

        assert first == second == long


async def test_a_foreign_host_is_refused_before_the_cache_is_read(client: Client) -> None:
    await answered(client, {}, query=LATEST)

    status, _, _ = await answered(client, {"Host": "evil.example.com"}, query=LATEST)

    assert status == 421


async def test_requests_are_answered_in_order_however_they_arrive(client: Client) -> None:
    cached, other = request(LATEST), request("{ a: __typename }")
    answers = await exchanged(
        client,
        [cached],
        [cached],
        [cached + other + cached + cached],
        [*cut(cached, cached.index(b"{"))],
        [*cut(cached, 9, 60, cached.index(b"{"), len(cached) - 5), other],
        [request(LATEST, "Connection: close")],
    )

    expected = "cc" + "cocc" + "c" + "co" + "c"
    assert "".join("c" if b"latestPrice" in each else "o" for each in answers) == expected


async def test_a_connection_is_closed_where_its_client_says_so(client: Client) -> None:
    for _ in range(2):  # the second is cached
        (answer,) = await exchanged(client, [request(LATEST, "Connection: close")])
        assert b"connection: close" in answer


async def test_a_client_that_waits_for_100_continue_receives_it(client: Client) -> None:
    last = request(LATEST, "Connection: close", "Expect: 100-continue")
    head = last.index(b"{")
    async with asyncio.timeout(60), opened(client) as (reader, writer):
        writer.write(last[:head])
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(last[head:])
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


async def test_a_long_body_in_many_pieces_is_read_to_its_end(client: Client) -> None:
    query = LATEST + " " * 30_000
    whole = request(query, "Connection: close")
    (answer,) = await exchanged(client, cut(whole, *range(3_000, len(whole), 3_000)))

    assert b"latestPrice" in answer


async def exchanged(client: Client, *requests: list[bytes]) -> list[bytes]:
    """The answers to requests in packets, of which the last closes the connection."""
    async with asyncio.timeout(60), opened(client) as (reader, writer):
        for packet in chain(*requests):
            writer.write(packet)
            for _ in range(5):  # the server, in the same loop, receives them one by one
                await asyncio.sleep(0)
        return (await reader.read()).split(b"HTTP/1.1 200 OK\r\n")[1:]


@asynccontextmanager
async def opened(
    client: Client,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    parts = urlsplit(client.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def request(query: str, *headers: str) -> bytes:
    body = json.dumps({"query": query})
    lines = [
        "POST /graphql HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def cut(text: bytes, *places: int) -> list[bytes]:
    return [text[begin:end] for begin, end in pairwise((0, *places, len(text)))]
