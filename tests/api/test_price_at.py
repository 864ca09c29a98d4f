"""The price at a moment, its change since, and its freshness."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from client import Client, serving
from rows import NOON, cursor, insert, minute, quote, record

from quotes.database.models import Failure
from quotes.database.sessions import Sessions
from quotes.market.coverage import MINUTE
from quotes.settings import Settings


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


PRICE_AT = """
    query ($at: DateTime!, $direction: Direction, $maxDistance: Duration) {
      priceAt(ticker: "BTC", at: $at, direction: $direction, maxDistance: $maxDistance) { at }
    }
"""


@pytest.mark.parametrize(
    ("asked", "direction", "within", "found"),
    [
        ("12:10:00", "BEFORE", None, "12:10"),
        ("12:14:59", "BEFORE", None, "12:10"),
        ("12:14:59", "BEFORE", "5m", "12:10"),
        ("12:14:59", "BEFORE", "4m", None),
        ("12:09:59", "BEFORE", None, None),
        ("12:10:00", "AFTER", None, "12:10"),
        ("12:10:01", "AFTER", None, "12:20"),
        ("12:20:01", "AFTER", None, None),
        ("12:14:00", "NEAREST", None, "12:10"),
        ("12:15:00", "NEAREST", None, "12:10"),
        ("12:15:01", "NEAREST", None, "12:20"),
        ("12:15:01", "NEAREST", "299s", "12:20"),
        ("12:15:01", "NEAREST", "298s", None),
    ],
)
async def test_the_price_at_a_moment_is_looked_for_where_and_as_far_as_is_said(  # noqa: PLR0913, PLR0917
    client: Client, sessions: Sessions, asked: str, direction: str, within: str, found: str
) -> None:
    await insert(sessions, quote(at=10), quote(at=20))

    shown = await client.data(
        PRICE_AT, at=f"2026-01-31T{asked}Z", direction=direction, maxDistance=within
    )

    assert (shown and shown["at"]) == (found and f"2026-01-31T{found}:00Z")


async def test_the_calendar_s_last_moment_has_a_price_before_it(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=0))

    assert await client.data(PRICE_AT, at="9999-12-31T23:59:59.999999Z") is not None


CHANGE = """
    query ($window: Duration! = "24h") {
      change(ticker: "BTC", window: $window) {
        window absolute percent latest { price at } base { price at }
      }
    }
"""


async def test_a_change_has_what_it_is_computed_from(client: Client, sessions: Sessions) -> None:
    await insert(sessions, quote(at=0, price="80000.10"), quote(at=1_440, price="81000.123456789"))

    shown = await client.data(CHANGE)

    assert shown == {
        "window": "1d",
        "absolute": "1000.023456789",
        "percent": "1.2500",
        "latest": {"price": "81000.123456789", "at": "2026-02-01T12:00:00Z"},
        "base": {"price": "80000.10", "at": "2026-01-31T12:00:00Z"},
    }


@pytest.mark.parametrize(("base", "shown"), [(-6, True), (-7, False), (0, True), (1, False)])
async def test_a_base_that_is_missing_or_too_old_is_none(
    client: Client,
    sessions: Sessions,
    base: int,
    shown: bool,  # noqa: FBT001
) -> None:
    await insert(sessions, quote(at=base), quote(at=60))

    change = await client.data(CHANGE, window="1h")

    assert [change[name] is not None for name in ("base", "absolute", "percent")] == [shown] * 3


async def test_a_fall_is_negative_and_no_quote_is_no_change(
    client: Client, sessions: Sessions
) -> None:
    assert await client.data(CHANGE) is None

    await insert(sessions, quote(at=0, price="4"), quote(at=60, price="3"))

    change = await client.data(CHANGE, window="1h")
    assert (change["absolute"], change["percent"]) == ("-1", "-25.0000")


@pytest.mark.parametrize("window", ["", "0s", "1y", "-1h", "1.5h", "9999999d", "1 h"])
async def test_a_length_of_time_that_is_none_is_refused(client: Client, window: str) -> None:
    code, sentence = await client.refusal(CHANGE, window=window)

    assert (code, "24h" in sentence) == ("BAD_INPUT", True)


LATEST = 'query ($maxAge: Duration) { latestPrice(ticker: "BTC", maxAge: $maxAge) { price } }'


async def stale(client: Client, max_age: str) -> Any:
    (error,) = (await client.answer(LATEST, maxAge=max_age))["errors"]
    return error["extensions"]


async def test_a_price_older_than_allowed_is_refused_with_what_there_is_and_why(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=0, price="101.50"))

    never_asked = await stale(client, "90s")
    await record(
        sessions,
        Failure(
            ticker="btc_usd",
            minute=minute(1),
            cause="MAINTENANCE",
            message="The exchange is under maintenance.",
            failed_at=minute(1),
            attempts=1,
        ),
    )
    failed = await stale(client, "90s")

    assert (never_asked["cause"], failed["cause"]) == ("NOT_ASKED", "MAINTENANCE")
    assert failed["code"] == "STALE_PRICE"
    assert failed["ageSeconds"] > (datetime.now(UTC) - NOON).total_seconds() - 60
    assert failed["lastGood"] == {
        "price": "101.50",
        "at": "2026-01-31T12:00:00Z",
        "observedAt": "2026-01-31T12:00:00.040000Z",
        "exactTime": True,
        "source": "demo",
        "origin": "LIVE",
        "cursor": cursor(1, quote(at=0, price="101.50")),
    }


async def test_a_price_that_is_fresh_enough_is_answered(client: Client, sessions: Sessions) -> None:
    await insert(sessions, quote(at=(datetime.now(UTC) - NOON) // MINUTE, price="101.5"))

    assert await client.data(LATEST, maxAge="10m") == {"price": "101.5"}
    assert await client.data(LATEST) == {"price": "101.5"}


async def test_no_price_at_all_is_refused_where_a_fresh_one_is_wanted(client: Client) -> None:
    refused = await stale(client, "90s")

    assert (refused["code"], refused["lastGood"]) == ("STALE_PRICE", None)
    assert await client.data(LATEST) is None
