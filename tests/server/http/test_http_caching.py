"""What HTTP caches may store, and documents that are named by their hash."""

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import aiohttp
import pytest
from client import Client, serving
from rows import insert, quote

from quotes.api.plans.persisted import PersistedQueries
from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.live.newest import BOUND
from quotes.settings import Settings

DAY = '{ prices(ticker: "BTC", date: "2026-01-31") { nodes { at price } } }'
CANDLES = """{ candles(ticker: "BTC", interval: "1h", from: "2026-01-31T10:00:00Z",
    to: "2026-01-31T14:00:00Z") { close count } }"""
OPEN = [
    '{ latestPrice(ticker: "BTC") { price } }',
    '{ prices(ticker: "BTC") { nodes { price } } }',
    '{ prices(ticker: "BTC", date: "9999-12-31") { nodes { price } } }',
    '{ candles(ticker: "BTC", interval: "1h") { close } }',
    "{ nope }",
]  # fmt: skip


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    await insert(sessions, quote(at=0), quote(at=5))
    async with serving(settings) as client:
        yield client


async def got(
    client: Client, query: str | None, *, headers: dict[str, str] | None = None, **more: object
) -> tuple[aiohttp.ClientResponse, bytes]:
    parameters = {name: json.dumps(value) for name, value in more.items()}
    if query is not None:
        parameters["query"] = query
    url = f"{client.url}/graphql"
    async with client.http.get(url, params=parameters, headers=headers) as response:
        return response, await response.read()


@pytest.mark.parametrize("query", [DAY, CANDLES])
@pytest.mark.parametrize("origin", [Origin.REPAIRED, Origin.BACKFILLED])
async def test_a_closed_range_is_304_until_a_row_comes_late(
    client: Client, sessions: Sessions, query: str, origin: Origin
) -> None:
    first, body = await got(client, query)
    etag = first.headers["ETag"]
    assert (first.status, first.headers["Cache-Control"]) == (200, "public, no-cache")

    for known in (etag, f'"other", {etag.removeprefix("W/")}', "*"):
        again, nothing = await got(client, query, headers={"If-None-Match": known})
        assert (again.status, nothing, again.headers["ETag"]) == (304, b"", etag)

    await insert(sessions, quote(at=7, price="7", origin=origin))
    await asyncio.sleep(BOUND)  # what is promised is a time
    changed, other = await got(client, query, headers={"If-None-Match": etag})
    assert changed.status == 200
    assert changed.headers["ETag"] != etag
    assert other != body


@pytest.mark.parametrize("query", OPEN)
async def test_what_still_grows_is_not_for_caches(client: Client, query: str) -> None:
    response, _ = await got(client, query)

    assert "ETag" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"


def named(document: str, **more: object) -> dict[str, Any]:
    digest = sha256(document.encode()).hexdigest()
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}, **more}


async def test_a_document_is_sent_once_and_then_named(client: Client) -> None:
    unknown, body = await got(client, None, **named(DAY))
    (error,) = json.loads(body)["errors"]
    assert (unknown.status, error["message"]) == (200, "PersistedQueryNotFound")
    assert error["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"

    async with client.http.post(f"{client.url}/graphql", json=named(DAY, query=DAY)) as response:
        sent = await response.read()

    short, known = await got(client, None, **named(DAY))
    assert (short.status, known) == (200, sent)
    assert short.headers["ETag"]


@pytest.mark.parametrize(
    "extension",
    [
        {"version": 2, "sha256Hash": "a"},
        {"version": 1, "sha256Hash": 7},
        {"version": 1, "sha256Hash": "a"},
        [],
        "x",
    ],
)
async def test_a_wrong_hash_is_refused_in_a_sentence(client: Client, extension: object) -> None:
    body = {"query": DAY, "extensions": {"persistedQuery": extension}}
    async with client.http.post(f"{client.url}/graphql", json=body) as response:
        (error,) = (await response.json())["errors"]

    assert error["extensions"]["code"] == "BAD_INPUT"
    assert "persistedQuery" in error["message"]


def test_named_documents_take_no_more_room_than_they_may() -> None:
    queries = [f"{{ a{number}: __typename }}" for number in range(50)]
    persisted = PersistedQueries(room=sum(map(len, queries[-3:])))
    for query in queries:
        persisted.resolved(named(query, query=query))

    assert len(persisted) == 3
    assert persisted.resolved(named(queries[-1]))["query"] == queries[-1]
