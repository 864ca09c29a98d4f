"""Long answers are compressed as their clients can take them, and mean the same."""

import zlib
from collections.abc import AsyncIterator, Mapping

import pytest
import zstandard
from client import Client, serving
from graphql_over_http import EVENTS
from rows import insert, quote

from quotes.database.sessions import Sessions
from quotes.settings import Settings

DAY = '{ prices(ticker: "BTC", date: "2026-01-31") { nodes { at price cursor } } }'
UNPLANNED = '{ prices(ticker: "BTC") { nodes { price ageSeconds: collected } } }'
PACKED = {
    "zstd": zstandard.decompress,
    "gzip": lambda text: zlib.decompress(text, wbits=31),
    None: bytes,
}


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    await insert(sessions, *(quote(at=at) for at in range(100)))
    async with serving(settings) as client:
        yield client


async def answered(
    client: Client, query: str, method: str = "POST", **headers: str
) -> tuple[Mapping[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"query": query}
    parameters, sent = (body, None) if method == "GET" else (None, body)
    async with client.http.request(
        method,
        f"{client.url}/graphql",
        headers=named,
        auto_decompress=False,
        params=parameters,
        json=sent,
    ) as response:
        return response.headers, await response.read()


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("zstd;q=0, *", "gzip"),
        ("*", "zstd"),
        ("identity, gzip;q=0.5", None),
        ("gzip;q=0, zstd;q=0.0", None),
        ("gzip;q=x", None),
        ("br, deflate", None),
        ("identity;q=0", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("query", [DAY, UNPLANNED])
async def test_a_long_answer_is_compressed_as_its_client_prefers(
    client: Client, query: str, accepted: str, coding: str | None
) -> None:
    _, plain = await answered(client, query, Accept_Encoding="")

    for method in ("POST", "POST", "GET"):  # the second is cached
        headers, body = await answered(client, query, method, Accept_Encoding=accepted)

        assert headers.get("Content-Encoding") == coding
        assert int(headers["Content-Length"]) == len(body)
        assert headers["Vary"].startswith("Accept, Accept-Encoding")
        assert PACKED[coding](body) == plain


async def test_a_short_answer_and_a_stream_are_sent_as_they_are(client: Client) -> None:
    headers, _ = await answered(client, "{ __typename }", Accept_Encoding="zstd")
    assert "Content-Encoding" not in headers

    headers, body = await answered(client, DAY, Accept=EVENTS, Accept_Encoding="zstd")
    assert "Content-Encoding" not in headers
    assert body.startswith(b"retry: ")


async def test_an_etag_is_the_same_in_every_coding_and_so_a_weak_one(client: Client) -> None:
    for accepted in ("", "gzip", "zstd"):
        first, _ = await answered(client, DAY, "GET", Accept_Encoding=accepted)
        again, body = await answered(
            client, DAY, "GET", Accept_Encoding="zstd", If_None_Match=first["ETag"]
        )

        assert first["ETag"].startswith('W/"')
        assert (again["ETag"], body) == (first["ETag"], b"")
        assert "Content-Encoding" not in again
