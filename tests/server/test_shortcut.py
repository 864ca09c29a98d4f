"""What the cache answers past the other layers is what they would have answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
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
    parts = urlsplit(client.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    for packets in (
        [cached],
        [cached],
        [cached + other + cached + cached],
        [*cut(cached, cached.index(b"{"))],
        [*cut(cached, 9, 60, cached.index(b"{"), len(cached) - 5), other],
        [cached.replace(b"Host", b"Connection: close\r\nHost")],
    ):
        for packet in packets:
            writer.write(packet)
            for _ in range(5):  # the server, in the same loop, receives them one by one
                await asyncio.sleep(0)
    async with asyncio.timeout(20):
        answers = (await reader.read()).split(b"HTTP/1.1 200 OK\r\n")[1:]
    writer.close()

    expected = "cc" + "cocc" + "c" + "co" + "c"
    assert "".join("c" if b"latestPrice" in each else "o" for each in answers) == expected
    assert [b"connection: close" in each for each in answers] == [False] * 9 + [True]


def request(query: str) -> bytes:
    body = json.dumps({"query": query})
    head = "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def cut(text: bytes, *places: int) -> list[bytes]:
    return [text[begin:end] for begin, end in pairwise((0, *places, len(text)))]
