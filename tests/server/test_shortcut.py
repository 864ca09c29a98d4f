"""What the cache answers past the other layers is what they would have answered."""

from collections.abc import AsyncIterator
from typing import Any

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
