"""GraphQL over HTTP: which requests are taken, as what they are answered, and with which status."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote as quoted
from urllib.parse import urlsplit

import pytest
from client import Client, serving
from node import needs_clients, script
from rows import keep, quote

from quotes.api.errors import Code, Refusal
from quotes.database import store
from quotes.server.http import not_executed, response_of
from quotes.server.http_request import Media, preferences
from quotes.settings import Settings

JSON = "application/json"
RESPONSE = "application/graphql-response+json"
EVENTS = "text/event-stream"
URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, "
    "text/event-stream, multipart/mixed"
)
TYPENAME = {"query": "{ __typename }"}
ANSWER = {"data": {"__typename": "Query"}}


@pytest.fixture(scope="module")
async def client(database_url: str) -> AsyncIterator[Client]:
    """One service for all of these tests: what they are about is in no table."""
    async with serving(Settings(database_url=database_url)) as client:
        yield client


async def post(
    client: Client, body: object, **headers: str
) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.http.post(
        f"{client.url}/graphql", data=json.dumps(body), headers={"Content-Type": JSON, **named}
    ) as response:
        return response.status, response.headers, await response.json(content_type=None)


async def raw(client: Client, request: str, *, until: bytes | None = None) -> bytes:
    """What the server sends, up to `until` or else until it closes the connection."""
    parts = urlsplit(client.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request.replace("\n", "\r\n").encode())
        async with asyncio.timeout(20):
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
async def test_what_cannot_be_executed_has_no_data_and_tells_by_its_status_where_that_is_agreed(
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
    "url",
    [
        "/graphql?query={__typename}",
        "/graphql/?query={__typename}",
        "/graphql?query={__typename}&variables=",
        "/graphql?query={__typename}&variables=&operationName=&extensions=",
        "/graphql?query={__typename}&variables=null&extensions={}",
        '/graphql?query=query A($a:Boolean!){__typename@include(if:$a)}&variables={"a":true}',
        "/graphql?query=query A{__typename} query B{nope: __typename}&operationName=A",
    ],
)
async def test_get_reads_the_url_and_nothing_else(client: Client, url: str) -> None:
    path, _, query = url.partition("?")
    async with client.http.get(
        f"{client.url}{path}?{quoted(query, safe='=&')}", headers={"Content-Type": JSON}
    ) as response:
        assert (response.status, await response.json()) == (200, ANSWER)


@pytest.mark.parametrize(
    "query", ["", "query=", "query={__typename}&variables={", "query={__typename}&variables=7"]
)
async def test_a_malformed_url_is_400(client: Client, query: str) -> None:
    async with client.http.get(
        f"{client.url}/graphql?{quoted(query, safe='=&')}", headers={"Accept": RESPONSE}
    ) as response:
        assert response.status == 400
        assert (await response.json())["errors"][0]["extensions"] == {"code": "BAD_INPUT"}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("APPLICATION/JSON", 200),
        ("Application/Json; Charset=UTF-8", 200),
        ('application/json;charset="utf-8"', 200),
        ("application/json; profile=x", 200),
        ("application/json; charset=latin-1", 415),
        ("application/jsonl", 415),
        ("text/plain; application/json", 415),
        ("application/graphql", 415),
        ("multipart/form-data; boundary=application/json", 415),
        ("", 415),
    ],
)
async def test_the_body_of_a_post_is_json_in_any_spelling(
    client: Client, kind: str, status: int
) -> None:
    found, headers, _ = await post(client, TYPENAME, Content_Type=kind)

    assert found == status
    assert headers.get("Accept-Post") == (JSON if status == 415 else None)


@pytest.mark.parametrize(("coding", "status"), [("gzip", 415), ("br", 415), ("Identity", 200)])
async def test_a_compressed_body_is_refused_as_one(
    client: Client, coding: str, status: int
) -> None:
    found, headers, answer = await post(client, TYPENAME, Content_Encoding=coding)

    assert found == status
    if status == 415:
        assert headers["Accept-Encoding"] == "identity"
        assert "compressed" in answer["errors"][0]["message"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
async def test_another_method_is_405_and_told_which_are_allowed(
    client: Client, method: str
) -> None:
    async with client.http.request(method, f"{client.url}/graphql") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")


async def test_options_names_the_methods_and_head_has_the_headers_of_a_get(client: Client) -> None:
    url = f"{client.url}/graphql"
    async with client.http.options(url) as options, client.http.head(url, params=TYPENAME) as head:
        assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")
        assert (head.status, head.headers["Content-Length"]) == (200, "31")
        assert await head.read() == b""


@pytest.mark.parametrize("accept", ["image/png", "multipart/mixed", "application/json;q=0"])
async def test_a_client_that_takes_nothing_we_have_is_told_what_there_is(
    client: Client, accept: str
) -> None:
    status, _, answer = await post(client, TYPENAME, Accept=accept)

    assert status == 406
    assert RESPONSE in answer["errors"][0]["message"]


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


async def test_a_client_of_http_1_0_gets_no_chunks(
    settings: Settings, sessions: store.Sessions
) -> None:
    await keep(sessions, quote(at=1, price="1"))
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


async def test_a_client_that_leaves_while_it_posts_is_no_failure_of_ours(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\n"

    async with serving(settings) as client:
        parts = urlsplit(client.url)
        for accept in (JSON, EVENTS):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(f'{head}Accept: {accept}\r\nContent-Length: 99\r\n\r\n{{"q'.encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


@needs_clients
async def test_each_audit_of_graphql_over_http_passes(client: Client) -> None:
    async with script("audits.mjs", f"{client.url}/graphql") as lines:
        audits = [json.loads(line) async for line in lines]

    assert len(audits) == 61
    assert [audit for audit in audits if audit["fault"]] == []


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", []),
        ("*/*", [JSON, RESPONSE]),
        ("Text/Event-Stream; charset=utf-8", [EVENTS]),
        ("application/json, text/event-stream", [JSON, EVENTS]),
        ("application/json;q=0.5, text/event-stream", [EVENTS, JSON]),
        ("text/event-stream;q=0.1, application/json", [JSON, EVENTS]),
        ("text/event-stream;q=0", []),
        ("text/event-stream;q=nonsense", []),
        ("application/json;q=0, */*", [RESPONSE]),
        ("text/html, application/json ; q=0.9 , */*;q=0.8", [JSON, RESPONSE]),
        (URQL, [RESPONSE, JSON, EVENTS]),
    ],
)
def test_what_a_client_accepts_is_ordered_by_its_preference(accept: str, media: list[str]) -> None:
    assert preferences(accept) == media


@pytest.mark.parametrize("media", [Media.JSON, Media.RESPONSE])
@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.OVERLOADED, Code.TOO_MANY])
def test_what_could_not_be_served_is_503_and_says_when_to_retry(code: Code, media: Media) -> None:
    outcome = not_executed(Refusal(code, "Come again.", retryAfter=1.2))

    response = response_of(outcome, media)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
