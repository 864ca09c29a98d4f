"""What is answered of minutes that are no longer kept: that they are retired, not missing."""

from collections.abc import AsyncIterator

import pytest
from client import Client, serving
from rows import NOON, cursor, insert, minute, quote

from quotes.api import cursors
from quotes.database.sessions import Sessions
from quotes.settings import Settings
from workers.history import retention

OLD = -3 * 43_830 - 90  # minutes before NOON: 2025-11-01T03:00
KEPT = "2025-12-01T00:00:00Z"  # from there on


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    """Of an hour and a half in November only the hours are left."""
    await insert(sessions, *(quote(at=OLD + at, price=str(100 + at)) for at in range(90)))
    await insert(sessions, quote(at=-1, price="7"), quote(at=0))
    await retention.retire(sessions, 1, now=NOON)
    async with serving(settings) as client:
        yield client


@pytest.mark.parametrize(
    "query",
    [
        'prices(ticker: "BTC", date: "2025-11-01") { nodes { price } }',
        'prices(ticker: "BTC", from: "2025-11-30T23:59:00Z") { nodes { price } }',
        'prices(ticker: "BTC", to: "2025-11-02T00:00:00Z") { edges { node { price } } }',
        'priceAt(ticker: "BTC", at: "2025-11-01T04:00:00Z") { price }',
        'change(ticker: "BTC", window: "13w") { percent }',
        """
        candles(ticker: "BTC", interval: "1m", from: "2025-11-30T23:00:00Z",
                to: "2025-12-01T01:00:00Z") { open }
        """,
        """
        candles(ticker: "BTC", interval: "1d", from: "2025-11-01T00:00:00Z",
                timeZone: "Asia/Kolkata") { open }
        """,
        """
        candles(ticker: "BTC", interval: "5m", from: "2025-11-01T00:00:00Z",
                to: "2025-11-01T09:00:00Z", fill: NULL) { open }
        """,
    ],
)
async def test_what_takes_minutes_that_are_no_longer_kept_is_refused(
    client: Client, query: str
) -> None:
    (error,) = (await client.answer(f"{{ {query} }}"))["errors"]

    assert error["extensions"]["code"] == "RETIRED"
    assert error["extensions"]["retiredBefore"] == KEPT
    assert KEPT in error["message"]


async def test_the_candles_of_whole_hours_are_those_that_they_were(client: Client) -> None:
    found = await client.data(
        '{ candles(ticker: "BTC", interval: "1h", from: "2025-11-01T00:00:00Z",'
        ' to: "2025-11-02T00:00:00Z") { openTime open high low close count } }'
    )
    day = await client.data(
        '{ candles(ticker: "BTC", interval: "1d", from: "2025-11-01T00:00:00Z",'
        ' to: "2025-11-02T00:00:00Z", fill: PREVIOUS) { open close count } }'
    )

    assert found == [
        {"openTime": "2025-11-01T03:00:00Z", "open": "100", "high": "159", "low": "100",
         "close": "159", "count": 60},
        {"openTime": "2025-11-01T04:00:00Z", "open": "160", "high": "189", "low": "160",
         "close": "189", "count": 30},
    ]  # fmt: skip
    assert day == [{"open": "100", "close": "189", "count": 90}]


async def test_a_candle_that_is_filled_has_the_last_price_of_the_hours(client: Client) -> None:
    (filled, *_) = await client.data(
        '{ candles(ticker: "BTC", interval: "1h", from: "2025-12-01T00:00:00Z",'
        ' to: "2025-12-02T00:00:00Z", fill: PREVIOUS) { close filled } }'
    )

    assert filled == {"close": "189", "filled": True}


async def test_a_series_has_the_hours_ends_and_extremes(client: Client) -> None:
    series = '{ series(ticker: "BTC" FROM) { times prices count } }'

    whole = await client.data(series.replace("FROM", ""))
    cut = await client.data(
        series.replace("FROM", ', from: "2025-11-01T03:10:00Z", to: "2025-11-01T03:20:00Z"')
    )

    assert (whole["prices"], whole["count"]) == (["100", "189", "7", "100000.5"], 92)
    assert (cut["prices"], cut["count"]) == (["100", "159"], 60)


async def test_gaps_and_tickers_say_up_to_where(client: Client) -> None:
    gaps = '{ gaps(ticker: "BTC", from: "FROM", to: "TO") { present missing retiredBefore } }'

    retired = await client.data(
        gaps.replace("FROM", "2025-11-01T03:00:00Z").replace("TO", "2025-11-01T05:00:00Z")
    )
    kept = await client.data(
        gaps.replace("FROM", "2026-01-31T11:59:00Z").replace("TO", "2026-01-31T12:01:00Z")
    )
    tickers = await client.data("{ tickers { name retiredBefore first { at } } }")

    assert retired == {"present": 90, "missing": 30, "retiredBefore": KEPT}
    assert kept == {"present": 2, "missing": 0, "retiredBefore": None}
    first = {"at": "2026-01-31T11:59:00Z"}
    assert tickers[0] == {"name": "btc_usd", "retiredBefore": KEPT, "first": first}


async def test_what_has_no_beginning_begins_with_what_is_kept(client: Client) -> None:
    found = await client.data('{ prices(ticker: "BTC") { nodes { price } } }')

    assert [each["price"] for each in found["nodes"]] == ["7", "100000.5"]


async def test_cursors_from_there_are_lost(client: Client) -> None:
    page = cursors.page(minute(OLD + 5))
    assert (
        await client.refusal(f'{{ prices(ticker: "BTC", after: "{page}") {{ nodes {{ at }} }} }}')
    )[0] == "CURSOR_LOST"
    updates = "subscription ($after: String) { priceUpdates(after: $after) { price } }"
    async with client.subscription(
        updates, after=cursor(6, quote(at=OLD + 5, price="105"))
    ) as lost:
        (error,) = (await lost.message())["payload"]
    assert error["extensions"]["code"] == "CURSOR_LOST"

    async with client.subscription(updates, after=cursor(91, quote(at=-1, price="7"))) as kept:
        assert (await kept.next())["price"] == "100000.5"


async def test_files_of_them_are_refused_rather_than_empty(client: Client) -> None:
    async with client.http.get(f"{client.url}/export/btc_usd/2025-11.csv") as response:
        refused = await response.json()
    async with client.http.get(f"{client.url}/export/btc_usd/2026-01.csv") as response:
        lines = (await response.text()).splitlines()

    assert refused["errors"][0]["extensions"]["code"] == "RETIRED"
    assert len(lines) == 1 + 2
