"""What an index is made of, and how sure its price is, as clients see it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from client import Client, serving
from compositions import publish
from prices import priced
from rows import insert

from quotes.database.sessions import Sessions
from quotes.settings import Settings

CONFIDENCE = "confidence { spread percent exchanges }"
LATEST = f'{{ latestPrice(ticker: "BTC") {{ price {CONFIDENCE} }} }}'
WITHIN = 'query ($most: Percent) { latestPrice(ticker: "BTC", maxSpread: $most) { price } }'


@pytest.fixture
async def minute(sessions: Sessions) -> datetime:
    """The minute of the newest quote, which is this one."""
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    await insert(sessions, priced("btc_usd", minute, "101.50"))
    return minute


@pytest.fixture
async def client(settings: Settings, minute: datetime) -> AsyncIterator[Client]:
    """Of a service that has read that quote."""
    async with serving(settings) as client:
        yield client


async def test_a_price_has_the_spread_of_its_exchanges_in_exact_decimals(
    client: Client, sessions: Sessions, minute: datetime
) -> None:
    await publish(sessions, minute, "100", "102.5000000000000000001", "101")

    latest = await client.data(LATEST)
    (listed,) = await client.data(f"{{ latestPrices {{ price {CONFIDENCE} }} }}")

    assert latest == listed
    assert latest["confidence"] == {
        "spread": "2.5000000000000000001",
        "percent": "2.4753",  # of 101, rounded up
        "exchanges": 3,
    }


@pytest.mark.parametrize(("most", "refused"), [("2.4753%", False), ("2.4752%", True)])
async def test_a_price_is_refused_only_if_its_exchanges_are_further_apart(
    client: Client, sessions: Sessions, minute: datetime, most: str, *, refused: bool
) -> None:
    await publish(sessions, minute, "100", "102.5", "101")

    answer = await client.answer(WITHIN, most=most)

    assert ("errors" in answer) is refused


async def test_no_answer_outlives_what_it_rests_on(
    client: Client, sessions: Sessions, minute: datetime
) -> None:
    for far in ("101", "102", "103"):  # and no quote is committed meanwhile
        await publish(sessions, minute, "100", far)
        assert (await client.data(LATEST))["confidence"]["spread"] == str(int(far) - 100)
        assert ("errors" in await client.answer(WITHIN, most="2%")) is (far == "103")


async def test_of_the_past_nothing_is_known(
    client: Client, sessions: Sessions, minute: datetime
) -> None:
    await publish(sessions, minute, "100", "101")

    page = await client.data(f'{{ prices(ticker: "BTC") {{ nodes {{ a: {CONFIDENCE} }} }} }}')
    change = await client.data(f'{{ change(ticker: "BTC") {{ latest {{ {CONFIDENCE} }} }} }}')

    assert page == {"nodes": [{"a": None}]}
    assert change == {"latest": {"confidence": None}}


@pytest.mark.parametrize(
    "most", ["", "0%", "-1%", "0.5", "10000%", "0.00001%", "1e3%", "NaN%", "٣%", " 1%", 1, 0.25, {}]
)
async def test_what_is_no_percentage_is_refused_with_how_to_write_one(
    client: Client, most: object
) -> None:
    code, sentence = await client.refusal(WITHIN, most=most)

    assert code == "BAD_INPUT"
    assert "0.5%" in sentence or "as a string" in sentence


async def test_an_unknown_ticker_is_told_from_one_that_nothing_is_known_of(client: Client) -> None:
    assert await client.data('{ constituents(ticker: "BTC") { ageSeconds } }') is None
    code, _ = await client.refusal('{ constituents(ticker: "nosuch_usd") { ageSeconds } }')
    assert code == "UNKNOWN_TICKER"


async def test_without_any_quote_a_sure_one_is_refused(client: Client) -> None:
    (error,) = (await client.answer(WITHIN.replace("BTC", "ETH"), most="1%"))["errors"]

    assert error["extensions"]["code"] == "UNCERTAIN_PRICE"
    assert error["extensions"]["lastGood"] is None
    assert await client.data(WITHIN.replace("BTC", "ETH"), most=None) is None
