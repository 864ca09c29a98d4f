"""What is told of the files of a period, and Parquet over HTTP."""

import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from client import Client, serving
from pyarrow import parquet as reader
from rows import failure, insert, quote, record

from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.export import parquet
from quotes.settings import Settings

DAY = "eth_usd/2026-01-31"


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    late = quote("eth_usd", at=5, origin=Origin.REPAIRED)
    await insert(sessions, quote("eth_usd", price="91892.123456789012"), quote("eth_usd", 1), late)
    await record(sessions, failure("LOCKED"))
    async with serving(settings) as client:
        yield client


async def told(client: Client, period: str = DAY) -> dict[str, Any]:
    async with client.http.get(f"{client.url}/export/{period}.json") as response:
        assert response.status == 200
        return dict(await response.json())


async def body_of(client: Client, name: str) -> bytes:
    async with client.http.get(f"{client.url}/export/eth_usd/{name}") as response:
        return await response.read()


async def test_a_manifest_tells_how_complete_a_period_is(client: Client) -> None:
    found = await told(client)

    assert {name: found[name] for name in ("ticker", "period", "from", "to", "closed")} == {
        "ticker": "eth_usd",
        "period": "2026-01-31",
        "from": "2026-01-31T00:00:00Z",
        "to": "2026-02-01T00:00:00Z",
        "closed": True,
    }
    counts = [found[name] for name in ("count", "expected", "missing", "repaired")]
    assert counts == [3, 1_440, 1_437, 1]
    assert found["gaps"][1] == {
        "from": "2026-01-31T12:02:00Z",
        "to": "2026-01-31T12:05:00Z",
        "minutes": 3,
        "cause": "LOCKED",
        "repaired": False,
    }


async def test_each_file_is_as_long_as_told_and_hashes_to_what_is_told_until_a_row_comes(
    client: Client, sessions: Sessions
) -> None:
    seen = set()
    for price in (None, "7"):
        if price:
            await insert(sessions, quote("eth_usd", 9, price))
        files = (await told(client))["files"]

        assert {*files} == {"csv", "jsonl", "parquet"}
        for file in files.values():
            body = await body_of(client, file["name"])
            assert (file["bytes"], file["sha256"]) == (len(body), sha256(body).hexdigest())
            seen.add(file["sha256"])

    assert len(seen) == 6


async def test_a_file_that_was_sent_once_need_not_be_read_for_its_hash(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ending in ("csv", "jsonl", "parquet"):
        await body_of(client, f"2026-01-31.{ending}")
    monkeypatch.setattr("quotes.server.exports.download.read", None)

    assert (await told(client))["files"]["parquet"]["sha256"]


async def test_of_a_period_that_is_not_over_no_hash_is_told(client: Client) -> None:
    found = await told(client, f"eth_usd/{datetime.now(UTC):%Y}")

    assert found["closed"] is False
    assert {file["sha256"] for file in found["files"].values()} == {None}


async def test_a_parquet_file_has_the_digits_and_can_be_read_in_ranges(client: Client) -> None:
    file = await body_of(client, "2026-01-31.parquet")
    rows = reader.read_table(io.BytesIO(file)).to_pylist()
    assert [row["price"] for row in rows] == ["91892.123456789012", "100000.5", "100000.5"]

    url = f"{client.url}/export/{DAY}.parquet"
    async with client.http.head(url) as response:
        assert response.headers["Content-Length"] == str(len(file))
    async with client.http.get(url, headers={"Range": "bytes=-8"}) as response:
        assert (response.status, await response.read()) == (206, file[-8:])


async def test_without_the_library_parquet_is_refused_with_how_to_install_it(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "library", lambda: None)

    (error,) = json.loads(await body_of(client, "2026-01-31.parquet"))["errors"]

    assert error["extensions"]["code"] == "BAD_INPUT"
    assert "ask for csv or jsonl" in error["message"]
    assert "pip install 'quotes[parquet]'" in error["message"]
    assert {*(await told(client))["files"]} == {"csv", "jsonl"}
