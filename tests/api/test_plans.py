"""What a plan answers is what Strawberry's own execution does, for generated documents."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import structlog
from documents import documents
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from planning import planning
from rows import failure, insert, minute, quote, record

from quotes.api.plans.plans import Plans
from quotes.api.schema import schema
from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.settings import Settings

NOW = minute(63) + timedelta(seconds=7, microseconds=123_456)


@pytest.fixture
async def plans(settings: Settings, sessions: Sessions) -> AsyncIterator[Plans]:
    named = ("btc_usd", "eth_usd", "none_usd")
    fill = {"BACKFILLED": range(-180, 0, 60), "LIVE": range(40), "REPAIRED": range(45, 50)}
    for origin, minutes in fill.items():
        rows = [quote(at=at, price=f"{100_000 + at}.5", origin=Origin(origin)) for at in minutes]
        await insert(sessions, *rows)
    whole = quote("eth_usd", 62, "0.00001234")
    whole.observed_at = whole.minute  # which is written without a fraction
    await insert(sessions, whole, quote("old_usd", -9_000, "12"))
    await record(sessions, failure("TIMEOUT"))
    async with planning(settings.model_copy(update={"tickers": named}), now=NOW) as plans:
        yield plans


async def executed(
    plans: Plans, query: str, variables: dict[str, object]
) -> tuple[dict[str, Any] | None, list[str]]:
    """Strawberry's data and errors."""
    result = await schema.execute(query, variables, plans.context)
    return result.data, [error.message for error in result.errors or []]


@example(('{ prices(ticker: "BTC") { nodes { at @skip(if: true) } edges { __typename } } }', {}))
@example(('{ candles(ticker: "old_usd", interval: "1m") { openTime } }', {}))
@given(documents())
@hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
async def test_a_plan_answers_what_the_ordinary_execution_does(
    plans: Plans, document: tuple[str, dict[str, object]]
) -> None:
    query, variables = document
    with structlog.testing.capture_logs() as logs:
        data, errors = await executed(plans, query, variables)
        answers = [await plans.answer(query, None, variables) for _ in range(2)]

    assert [each for each in logs if each["event"] == "plan_failed"] == []
    for answer in answers:  # the second may have been given before
        if errors:
            assert answer is None
        else:
            assert answer is not None
            assert json.loads(answer.body) == {"data": data}
            assert [*json.loads(answer.body)["data"]] == [*(data or {})]
