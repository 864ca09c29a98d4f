"""GraphQL over HTTP: what an operation is answered, as which media type, with which status."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from urllib.parse import quote as quoted
from urllib.parse import urlsplit

import pytest
from client import PROTOCOL, Client, serving
from graphql_over_http import ANSWER, EVENTS, JSON, RESPONSE, TYPENAME, URQL, post
from node import needs_clients, script
from rows import insert, quote

from quotes.api.errors import Code, RefusedError
from quotes.database.sessions import Sessions
from quotes.server.http.endpoint import not_executed
from quotes.server.http.request import Media
from quotes.server.http.response import response_of
from quotes.settings import Settings


@pytest.fixture(scope="module")
async def client(database_url: str) -> AsyncIterator[Client]:
    """One service for all of these tests: what they are about is in no table."""
    patient = Settings(database_url=database_url, query_wait=30)  # all audits come at once
    async with serving(patient) as client:
        yield client


async def raw(client: Client, request: str, *, until: bytes | None = None) -> bytes:
    """What the server sends, up to `until` or else until it closes the connection."""
    parts = urlsplit(client.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request.replace("\n", "\r\n").encode())
        async with asyncio.timeout(60):
            return await (reader.readuntil(until) if until else reader.read())
    finally:
        writer.close()


@pytest.mark.parametrize("accept", [JSON, RESPONSE, "*/*", "application/*;q=0.1", URQL])
async def test_an_answer_has_the_media_type_that_its_client_likes_best(
    client: Client, accept: str
) -> None:
    status, headers, answer = await post(client, TYPENAME, Accept=accept)

    best = RESPONSE if accept.startswith(RESPONSE) else JSON
    assert (status, answer) == (200, ANSWER)
    assert headers["Content-Type"] == f"{best}; charset=utf-8"
    assert headers["Vary"].startswith("Accept")
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{", None),
        ("", None),
        ("{ nope }", None),
        ("fragment F on Query { __typename }", None),
        ("query A { __typename } query B { __typename }", None),
        ("query ($id: ID!) { __typename }", {"id": None}),
        ("mutation { __typename }", None),
        ("subscription { priceUpdates { price } }", None),
        ("{ tickers { \ud800 } }", None),
    ],
)
async def test_what_cannot_be_executed_has_no_data_and_an_error_status_where_the_media_type_has_one(
    client: Client,
    caplog: pytest.LogCaptureFixture,
    query: str,
    variables: dict[str, object] | None,
) -> None:
    body = {"query": query, "variables": variables}

    for accept, expected in ((JSON, 200), (RESPONSE, 400)):
        status, _, answer = await post(client, body, Accept=accept)
        assert status == expected
        assert answer.keys() == {"errors"}
        assert answer["errors"][0]["extensions"]["code"] == "BAD_INPUT"
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_an_error_in_a_field_is_200_beside_the_data(client: Client) -> None:
    query = '{ latestPrice(ticker: "doge_usd") { price } }'

    status, _, answer = await post(client, {"query": query}, Accept=RESPONSE)

    assert (status, answer["data"]) == (200, {"latestPrice": None})
    assert answer["errors"][0]["extensions"]["code"] == "UNKNOWN_TICKER"


async def test_a_subscription_without_events_is_refused_with_the_way_to_subscribe(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    query = {"query": "subscription { priceUpdates { price } }"}

    _, _, posted = await post(client, query, Accept=JSON)
    async with client.http.get(f"{client.url}/graphql", params=query) as response:
        got = await response.json()

    (error,) = posted["errors"]
    assert posted == got
    assert error["extensions"] == {"code": "BAD_INPUT"}
    assert EVENTS in error["message"]
    assert "graphql-transport-ws" in error["message"]
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_a_mutation_by_get_is_not_allowed(client: Client) -> None:
    async with client.http.get(
        f"{client.url}/graphql", params={"query": "mutation { __typename }"}
    ) as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert "no mutations" in (await response.json())["errors"][0]["message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/metrics", 404),
        ("/admin", 404),
        ("/doge", 404),
        ("/btc", 200),
        ("/doge_usd", 200),
        ("/healthz", 200),
        ("/graphql", 400),
        ("/assets/none.js", 404),
    ],
)
async def test_a_word_is_a_page_only_where_it_can_be_a_ticker_and_nothing_is_sniffed(
    client: Client, path: str, status: int
) -> None:
    async with client.http.get(f"{client.url}{path}") as response:
        assert response.status == status
        assert response.headers.getall("X-Content-Type-Options") == ["nosniff"]


async def test_a_client_of_http_1_0_gets_no_chunks(settings: Settings, sessions: Sessions) -> None:
    await insert(sessions, quote(at=1, price="1"))
    query = quoted('subscription{priceUpdates(after:"s0"){price}}')
    stream = f"GET /graphql?query={query} HTTP/1.0\nHost: localhost\nAccept: {EVENTS}\n\n"

    async with serving(settings) as client:
        events = await raw(client, stream, until=b'{"data":{"priceUpdates":{"price":"1"}}}\n\n')
        answer = await raw(client, "GET /graphql?query={__typename} HTTP/1.0\nHost: localhost\n\n")

    head, _, body = events.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert body.startswith(b"retry: ")
    assert b"content-length: 31" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == ANSWER


@needs_clients
async def test_each_audit_of_graphql_over_http_passes(settings: Settings) -> None:
    patient = settings.model_copy(update={"query_wait": 20})  # they all come at once
    async with (
        serving(patient) as client,
        script("audits.mjs", f"{client.url}/graphql") as lines,
    ):
        audits = [json.loads(line) async for line in lines]

    assert len(audits) == 61
    assert [audit for audit in audits if audit["fault"]] == []


@pytest.mark.parametrize("media", [Media.JSON, Media.RESPONSE])
@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.OVERLOADED, Code.TOO_MANY])
def test_what_could_not_be_served_is_503_with_when_to_retry(code: Code, media: Media) -> None:
    outcome = not_executed(RefusedError(code, "Come again.", retryAfter=1.2))

    response = response_of(outcome, media)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")


async def test_a_socket_opens_with_a_slash_at_the_address_s_end_too(client: Client) -> None:
    async with client.http.ws_connect(f"{client.url}/graphql/", protocols=[PROTOCOL]) as socket:
        await socket.send_json({"type": "connection_init"})

        assert await socket.receive_json(timeout=60) == {"type": "connection_ack"}
