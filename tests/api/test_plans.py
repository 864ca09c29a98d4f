"""What a plan answers is what Strawberry's own execution does, for generated documents."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import structlog
from aiohttp import ClientWebSocketResponse
from client import Client, serving
from documents import CALLS, documents, whole
from graphql import get_introspection_query
from graphql_over_http import EVENTS
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from planning import planning
from rows import failure, insert, minute, quote, record

from quotes.api.context import Context
from quotes.api.errors import RefusedError
from quotes.api.plans.answers import Answer
from quotes.api.plans.plans import Plans
from quotes.api.schema import schema
from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.settings import Settings

NOW = minute(63) + timedelta(seconds=7, microseconds=123_500)  # ages end in half a millisecond


@pytest.fixture
async def named(settings: Settings, sessions: Sessions) -> Settings:
    """With quotes of three of four tickers, of which one is not collected."""
    fill = {"BACKFILLED": range(-180, 0, 60), "LIVE": range(40), "REPAIRED": range(45, 50)}
    for origin, minutes in fill.items():
        rows = [quote(at=at, price=f"{100_000 + at}.5", origin=Origin(origin)) for at in minutes]
        await insert(sessions, *rows)
    whole = quote("eth_usd", 62, "0.00001234")
    whole.observed_at = whole.minute  # which is written without a fraction
    await insert(sessions, whole, quote("old_usd", -9_000, "12"))
    await record(sessions, failure("TIMEOUT"))
    return settings.model_copy(update={"tickers": ("btc_usd", "eth_usd", "none_usd")})


NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


@pytest.fixture(params=["from memory", "from the database"])
async def plans(named: Settings, request: pytest.FixtureRequest) -> AsyncIterator[Plans]:
    """The latter as while the feed cannot read the log."""
    log = None if request.param == "from memory" else Settings(database_url=NOWHERE)
    async with planning(named, now=NOW, log=log) as plans:
        yield plans


Result = tuple[dict[str, Any] | None, list[str]]  # data, and the errors' messages


async def answered(
    plans: Plans, query: str, variables: dict[str, object]
) -> Answer | RefusedError | None:
    """By its plan; the refusal of one that may cost or show too much."""
    try:
        return await plans.answer(query, None, variables)
    except RefusedError as refusal:
        return refusal


async def executed(context: Context, query: str, variables: dict[str, object]) -> Result:
    """By Strawberry."""
    result = await schema.execute(query, variables, context)
    return result.data, [error.message for error in result.errors or []]


def same(given: Result, expected: Result) -> bool:
    """Where several fields fail, and there are no data, which errors are listed is left open."""
    (data, errors), (expected_data, expected_errors) = given, expected
    if data is None and min(len(errors), len(expected_errors)) > 0:
        return expected_data is None and not {*errors}.isdisjoint(expected_errors)
    return (data, sorted(errors)) == (expected_data, sorted(expected_errors))


async def test_a_plan_answers_every_field_as_the_ordinary_execution_does(plans: Plans) -> None:
    for call in CALLS:
        query = whole(call)
        expected = await executed(plans.context, query, {})
        answer = await plans.answer(query, None, None)

        assert answer is not None, call
        assert same(result_of(json.loads(answer.body)), expected)


@example(('{ prices(ticker: "BTC") { nodes { at @skip(if: true) } edges { __typename } } }', {}))
@example(('{ candles(ticker: "old_usd", interval: "1m") { openTime } }', {}))
@example(("{ sparklines(points: 200) { ticker times prices __typename } }", {}))
@given(documents())
@hypothesis_settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
async def test_a_plan_answers_what_the_ordinary_execution_does(
    plans: Plans, document: tuple[str, dict[str, object]]
) -> None:
    query, variables = document
    with structlog.testing.capture_logs() as logs:
        data, errors = await executed(plans.context, query, variables)
        answers = [await answered(plans, query, variables) for _ in range(2)]

    assert [each for each in logs if each["event"] in {"plan_failed", "request_failed"}] == []
    for answer in answers:  # the second may have been given before
        if answer is None:  # nothing of it can be executed
            assert (data, bool(errors)) == (None, True)
        elif isinstance(answer, RefusedError):
            assert (data, errors) == (None, [answer.message])
        else:
            body = json.loads(answer.body)
            assert same(result_of(body), (data, errors))
            assert [*(body["data"] or {})] == [*(data or {})]


@given(documents())
@hypothesis_settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
async def test_each_protocol_gives_what_the_ordinary_execution_does(
    wires: tuple[Client, ClientWebSocketResponse], document: tuple[str, dict[str, object]]
) -> None:
    client, socket = wires
    query, variables = document
    body: dict[str, object] = {"query": query, "variables": variables}

    expected = await executed(client.state.context, query, variables)

    for _ in range(2):  # the second may be from the cache
        assert same(result_of(await client.answer(query, **variables)), expected)
        assert same(await by_websocket(socket, body), expected)
        assert same(await by_events(client, body), expected)


@pytest.fixture
async def wires(named: Settings) -> AsyncIterator[tuple[Client, ClientWebSocketResponse]]:
    async with serving(named) as client, client.acknowledged_socket() as socket:
        object.__setattr__(client.state.context, "now", lambda: NOW)
        yield client, socket


def result_of(answer: dict[str, Any]) -> Result:
    return answer.get("data"), [error["message"] for error in answer.get("errors", [])]


async def by_websocket(socket: ClientWebSocketResponse, body: dict[str, object]) -> Result:
    await socket.send_json({"id": "1", "type": "subscribe", "payload": body})
    message = await socket.receive_json(timeout=60)
    if message["type"] == "error":
        return result_of({"errors": message["payload"]})
    assert await socket.receive_json(timeout=60) == {"id": "1", "type": "complete"}
    return result_of(message["payload"])


async def by_events(client: Client, body: dict[str, object]) -> Result:
    headers = {"Accept": EVENTS}
    async with client.http.post(f"{client.url}/graphql", json=body, headers=headers) as response:
        _, event, last, rest = (await response.text()).split("\n\n")
    name, data = event.split("\n")
    assert (name, last.split("\n")[0], rest) == ("event: next", "event: complete", "")
    return result_of(json.loads(data.removeprefix("data: ")))


async def test_a_field_that_fails_leaves_the_others_their_answers(plans: Plans) -> None:
    query = """{ prices(ticker: "BTC", first: 2) { nodes { at } }
        a: latestPrice(ticker: "nosuch_usd") { at } b: latestPrice(ticker: "eth") { price } }"""

    answer = await plans.answer(query, None, None)

    assert answer is not None
    body = json.loads(answer.body)
    assert len(body["data"]["prices"]["nodes"]) == 2
    assert (body["data"]["a"], body["data"]["b"]) == (None, {"price": "0.00001234"})
    (error,) = body["errors"]
    assert (error["path"], error["locations"]) == (["a"], [{"line": 2, "column": 9}])
    assert error["extensions"] == {"code": "UNKNOWN_TICKER"}
    assert await plans.answer(query, None, None) is not answer  # which is not cached


@pytest.mark.parametrize("halted", [61, 63])
async def test_a_plan_shows_a_halted_price_as_the_ordinary_execution_does(
    plans: Plans, halted: int
) -> None:
    plans.context.collection.halted["eth_usd"] = minute(halted)  # whose last price is of 62
    query = """{
        latestPrice(ticker: "ETH") { stale } latestPrices { ticker stale }
        prices(ticker: "ETH") { nodes { stale } } change(ticker: "ETH") { latest { stale } }
    }"""

    answer = await plans.answer(query, None, None)

    assert answer is not None
    data = json.loads(answer.body)["data"]
    assert data["latestPrice"]["stale"] is (halted > 62)
    assert (data, []) == await executed(plans.context, query, {})


async def test_a_stale_price_is_refused_with_its_cause(plans: Plans) -> None:
    query = '{ latestPrice(ticker: "none_usd", maxAge: "1s") { at } }'
    answer = await plans.answer(query, None, None)

    assert answer is not None
    (error,) = json.loads(answer.body)["errors"]
    assert error["extensions"]["code"] == "STALE_PRICE"


async def test_the_schema_is_queried_once_and_by_itself(plans: Plans) -> None:
    introspection = get_introspection_query()

    _, answer = [await plans.answer(introspection, None, None) for _ in range(2)]

    assert answer is not None
    assert json.loads(answer.body)["data"] == schema.execute_sync(introspection).data
    assert answer.cached
    with pytest.raises(RefusedError, match="of its own"):
        await plans.answer("{ __schema { types { name } } latestPrices { at } }", None, None)


async def test_an_operation_costs_what_it_has_read_not_what_it_could_have(plans: Plans) -> None:
    page = '{ prices(ticker: "BTC", first: %s) { nodes { at price } } }'

    large, small = [await plans.answer(page % size, None, None) for size in ("10000", "53")]

    assert large is not None
    assert small is not None
    assert large.requested > small.requested
    assert large.actual == small.actual == small.requested
