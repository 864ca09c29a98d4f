"""GraphQL over HTTP: which requests are accepted, and how the others are refused."""

import asyncio
import logging
from collections.abc import AsyncIterator
from urllib.parse import quote as quoted
from urllib.parse import urlsplit

import pytest
from client import Client, serving
from graphql_over_http import ANSWER, EVENTS, JSON, RESPONSE, TYPENAME, URQL, post

from quotes.server.http.request import preferences
from quotes.settings import Settings


@pytest.fixture(scope="module")
async def client(database_url: str) -> AsyncIterator[Client]:
    """One service for all of these tests: what they are about is in no table."""
    async with serving(Settings(database_url=database_url)) as client:
        yield client


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
async def test_another_method_is_405_with_the_allowed_ones(client: Client, method: str) -> None:
    async with client.http.request(method, f"{client.url}/graphql") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")


async def test_options_names_the_methods_and_head_has_the_headers_of_a_get(client: Client) -> None:
    url = f"{client.url}/graphql"
    async with client.http.options(url) as options, client.http.head(url, params=TYPENAME) as head:
        assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")
        assert (head.status, head.headers["Content-Length"]) == (200, "31")
        assert await head.read() == b""


@pytest.mark.parametrize("accept", ["image/png", "multipart/mixed", "application/json;q=0"])
async def test_a_client_that_accepts_no_media_type_of_ours_is_sent_the_list(
    client: Client, accept: str
) -> None:
    status, _, answer = await post(client, TYPENAME, Accept=accept)

    assert status == 406
    assert RESPONSE in answer["errors"][0]["message"]


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
