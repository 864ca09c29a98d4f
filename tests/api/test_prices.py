"""What queries answer, over HTTP."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from client import Client, serving
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rows import NOON, cursor, failure, insert, minute, quote, record

from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions
from quotes.settings import Settings

ALL_FIELDS = """
    ticker price at timestamp observedAt exactTime source origin cursor ageSeconds stale collected
"""


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


async def test_latest_price_answers_in_any_spelling(client: Client, sessions: Sessions) -> None:
    await insert(sessions, quote(at=1), quote(at=2, price="101848.9"))

    for spelling in ("btc_usd", "BTC_USD", "BTC", " btc "):
        latest = await client.data(
            "query ($t: Ticker!) { latestPrice(ticker: $t) { ticker price at } }", t=spelling
        )
        assert latest == {"ticker": "btc_usd", "price": "101848.9", "at": "2026-01-31T12:02:00Z"}


async def test_a_quote_has_everything_that_is_known_of_it(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=0, price="81110.428333"))

    latest = await client.data(f'{{ latestPrice(ticker: "BTC") {{ {ALL_FIELDS} }} }}')

    assert latest.pop("ageSeconds") > 0
    assert latest == {
        "ticker": "btc_usd",
        "price": "81110.428333",
        "at": "2026-01-31T12:00:00Z",
        "timestamp": int(NOON.timestamp()),
        "observedAt": "2026-01-31T12:00:00.040000Z",
        "exactTime": True,
        "source": "demo",
        "origin": "LIVE",
        "cursor": cursor(1, quote(at=0, price="81110.428333")),
        "stale": True,
        "collected": True,
    }


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("81110.428333", "81110.428333"),
        ("0.0000012345678", "0.0000012345678"),
        ("1.6433e-4", "0.00016433"),
        ("101848.9", "101848.9"),
        ("7465.123456789012", "7465.123456789012"),
        ("1e5", "100000"),
    ],
)
async def test_a_price_is_exact_and_never_in_scientific_notation(
    client: Client, sessions: Sessions, sent: str, shown: str
) -> None:
    await insert(sessions, quote(price=sent))

    assert await client.data('{ latestPrice(ticker: "BTC") { price } }') == {"price": shown}


async def test_a_price_is_stale_after_two_minutes(client: Client, sessions: Sessions) -> None:
    now = datetime.now(UTC)
    for ticker, age in (("btc_usd", 60), ("eth_usd", 180)):
        observed = now - timedelta(seconds=age)
        await insert(
            sessions,
            Quote(
                ticker=ticker,
                minute=observed.replace(second=0, microsecond=0),
                price=Decimal(1),
                observed_at=observed,
                source="demo",
                origin=Origin.LIVE,
            ),
        )

    btc, eth = await client.data("{ latestPrices { ticker ageSeconds stale } }")

    assert (btc["stale"], eth["stale"]) == (False, True)
    assert 60 <= btc["ageSeconds"] < 120
    assert 180 <= eth["ageSeconds"] < 240


async def test_latest_prices_are_in_the_order_of_names_and_of_the_requested_only(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(name, at=1) for name in ("sol_usd", "btc_usd", "eth_usd")))

    everything = await client.data("{ latestPrices { ticker } }")
    some = await client.data('{ latestPrices(tickers: ["SOL", "btc_usd"]) { ticker } }')

    assert [each["ticker"] for each in everything] == ["btc_usd", "eth_usd", "sol_usd"]
    assert [each["ticker"] for each in some] == ["btc_usd", "sol_usd"]


async def test_a_configured_ticker_without_quotes_has_no_price_and_no_page(
    client: Client,
) -> None:
    assert await client.data('{ latestPrice(ticker: "BTC") { price } }') is None
    assert await client.data('{ prices(ticker: "BTC") { nodes { price } } }') == {"nodes": []}


async def test_a_day_is_half_open_in_utc(client: Client, sessions: Sessions) -> None:
    await insert(sessions, quote(at=-721), quote(at=-720), quote(at=719), quote(at=720))

    day = await client.data('{ prices(ticker: "BTC", date: "2026-01-31") { nodes { at } } }')

    assert [each["at"] for each in day["nodes"]] == [
        "2026-01-31T00:00:00Z",
        "2026-01-31T23:59:00Z",
    ]


async def test_a_range_holds_its_start_and_not_its_end_in_any_zone(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at) for at in range(5)))

    page = await client.data(
        """{ prices(ticker: "BTC", from: "2026-01-31T14:01:00+02:00", to: "2026-01-31T12:03:00Z")
             { nodes { at } } }"""
    )

    assert [each["at"][11:16] for each in page["nodes"]] == ["12:01", "12:02"]


PAGE = """
    query ($ticker: Ticker!, $first: Int, $after: String, $last: Int, $before: String) {
      prices(ticker: $ticker, first: $first, after: $after, last: $last, before: $before) {
        edges { cursor node { at } }
        pageInfo { startCursor endCursor hasNextPage hasPreviousPage }
      }
    }
"""


@given(
    present=st.sets(st.integers(0, 60), min_size=1, max_size=40),
    late=st.sets(st.integers(61, 70), max_size=3),
    size=st.integers(1, 12),
    backwards=st.booleans(),
)
@hypothesis_settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_paging_either_way_loses_and_doubles_nothing_while_rows_arrive(  # noqa: PLR0913, PLR0917
    client: Client,
    sessions: Sessions,
    present: set[int],
    late: set[int],
    size: int,
    backwards: bool,  # noqa: FBT001
) -> None:
    ticker = f"t{uuid4().hex[:8]}_usd"  # each example's own
    await insert(sessions, *(quote(ticker, at) for at in present))
    expected = set(present)
    seen: list[str] = []
    more, place = True, {"ticker": ticker, "last" if backwards else "first": size}

    while more:
        page = await client.data(PAGE, **place)
        info = page["pageInfo"]
        found = [edge["node"]["at"] for edge in page["edges"]]
        seen = found + seen if backwards else seen + found
        more = info["hasPreviousPage" if backwards else "hasNextPage"]
        if more:
            await insert(sessions, *(quote(ticker, at) for at in late))
            expected |= set() if backwards else late
        place |= {"before": info["startCursor"]} if backwards else {"after": info["endCursor"]}

    assert [datetime.fromisoformat(at) for at in seen] == [minute(at) for at in sorted(expected)]


async def test_a_page_between_two_others_has_a_previous_and_a_next_one(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at) for at in range(6)))

    first = (await client.data(PAGE, ticker="btc", first=2))["pageInfo"]
    second = (await client.data(PAGE, ticker="btc", first=2, after=first["endCursor"]))["pageInfo"]
    third = (await client.data(PAGE, ticker="btc", first=2, after=second["endCursor"]))["pageInfo"]
    beyond = (await client.data(PAGE, ticker="btc", first=2, after=third["endCursor"]))["pageInfo"]

    sides = [(info["hasPreviousPage"], info["hasNextPage"]) for info in (first, second, third)]
    assert sides == [(False, True), (True, True), (True, False)]
    assert beyond == {
        "startCursor": None,
        "endCursor": None,
        "hasPreviousPage": True,
        "hasNextPage": False,
    }


async def test_the_last_day_of_the_calendar_is_a_day(client: Client) -> None:
    page = await client.data('{ prices(ticker: "BTC", date: "9999-12-31") { nodes { at } } }')

    assert page == {"nodes": []}


async def test_a_removed_ticker_is_distinguished_from_a_collected_one(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(), quote("eth_usd"), quote("sol_usd"))
    without = settings.model_copy(update={"tickers": ("btc_usd", "eth_usd")})
    async with serving(without) as client:
        newest = await client.data("{ latestPrices { ticker collected } }")
        (day,) = (await client.data("""{ prices(ticker: "SOL") { nodes { collected } } }"""))[
            "nodes"
        ]
        subscription = "subscription { priceUpdates(tickers: [SOL]) { ticker collected } }"
        async with client.subscription(subscription.replace("SOL", '"SOL"')) as updates:
            streamed = await updates.next()

    assert {each["ticker"]: each["collected"] for each in newest} == {
        "btc_usd": True,
        "eth_usd": True,
        "sol_usd": False,
    }
    assert day == {"collected": False}
    assert streamed == {"ticker": "sol_usd", "collected": False}


async def test_tickers_show_what_is_collected_and_why_it_failed(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=1), quote(at=2), quote("old_usd", at=1))
    await record(sessions, failure("UNKNOWN_INDEX"))

    shown = await client.data(
        """{ tickers { name source collected first { at } last { at }
             lastFailure { minute cause message at attempts } } }"""
    )

    assert shown == [
        {
            "name": "btc_usd",
            "source": "demo",
            "collected": True,
            "first": {"at": "2026-01-31T12:01:00Z"},
            "last": {"at": "2026-01-31T12:02:00Z"},
            "lastFailure": None,
        },
        {
            "name": "eth_usd",
            "source": None,
            "collected": True,
            "first": None,
            "last": None,
            "lastFailure": {
                "minute": "2026-01-31T12:02:00Z",
                "cause": "UNKNOWN_INDEX",
                "message": "The exchange has no index eth_usd.",
                "at": "2026-01-31T12:02:01Z",
                "attempts": 1,
            },
        },
        {
            "name": "old_usd",
            "source": "demo",
            "collected": False,
            "first": {"at": "2026-01-31T12:01:00Z"},
            "last": {"at": "2026-01-31T12:01:00Z"},
            "lastFailure": None,
        },
    ]
