"""Whatever a client sends, it is answered or refused: never INTERNAL, and nothing is logged."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import structlog
from client import Client, serving
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from requests_of_any_kind import QUERY, SUBSCRIPTION, Sent, sent
from rows import insert, quote

from quotes.database.sessions import Sessions, open_engine
from quotes.settings import Settings

OURS = {"UNAVAILABLE", "INTERNAL"}
fuzzed = hypothesis_settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
async def client(database_url: str) -> AsyncIterator[Client]:
    """One service for all of these tests, with some quotes."""
    url = Settings(database_url=database_url).require_database_url()
    async with open_engine(url, name="test") as engine:
        quotes = [
            quote(ticker, at, f"{at}.5") for ticker in ("btc_usd", "eth_usd") for at in (0, 1, 9)
        ]
        await insert(Sessions(engine), *quotes)
    async with serving(Settings(database_url=database_url)) as client:
        yield client


@pytest.fixture
async def socket(client: Client) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with client.acknowledged_socket() as socket:
        yield socket


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with structlog.testing.capture_logs() as ours:
        yield
    assert [each for each in ours if each["log_level"] != "info"] == []
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


def codes(answer: dict[str, Any]) -> set[str]:
    return {error["extensions"]["code"] for error in answer.get("errors", ())}


@fuzzed
@given(request=sent(QUERY))
async def test_any_query_is_answered_or_refused_by_http(client: Client, request: Sent) -> None:
    body = json.dumps({"query": request.query, "variables": request.variables})
    async with client.http.post(
        f"{client.url}/graphql", data=body, headers={"Content-Type": "application/json"}
    ) as response:
        answer = await response.json()

    assert response.status == 200, answer
    assert not codes(answer) & OURS, answer


@fuzzed
@given(request=sent(SUBSCRIPTION) | sent(QUERY))
async def test_any_operation_is_answered_or_refused_on_a_socket(
    socket: aiohttp.ClientWebSocketResponse, request: Sent
) -> None:
    """What a subscription that waits for quotes would go wrong with is found in the log."""
    await _subscribe(socket, "any", request)
    await _subscribe(socket, "last", Sent("{ latestPrices { price } }", {}))
    answers: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while (message := await socket.receive_json())["id"] != "last":
            answers.append(message)
        await socket.send_json({"type": "complete", "id": "any"})
        while message["type"] != "complete" or message["id"] != "last":
            message = await socket.receive_json()
            answers.append(message)

    for answer in answers:
        payload = answer.get("payload", {})
        errors = payload if answer["type"] == "error" else payload.get("errors", [])
        assert not codes({"errors": errors}) & OURS, answer


async def _subscribe(socket: aiohttp.ClientWebSocketResponse, identity: str, sent: Sent) -> None:
    payload = {"query": sent.query, "variables": sent.variables}
    await socket.send_json({"type": "subscribe", "id": identity, "payload": payload})
