"""Symbols and bars by TradingView's UDF protocol, read as its adapter reads them."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from client import Client, serving
from connection import changed
from days import fill_days
from rows import insert, minute, quote, wait

from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.market.intervals import INTERVALS
from quotes.server.udf.resolutions import RESOLUTIONS
from quotes.settings import Settings

AVERAGE = quote(at=-60, price="91892.123456789012", origin=Origin.BACKFILLED)
QUOTES = [AVERAGE, *(quote(at=at, price=f"{100_000 + at * at % 97}.50") for at in (0, 1, 5, 61))]
MICRO = quote("shib_usdc", price="0.000000001230")
NOON = int(minute(0).timestamp())
HOUR, DAY = 3_600, 86_400


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    await insert(sessions, *QUOTES, MICRO)
    async with serving(settings) as client:
        yield client


async def got(client: Client, path: str, **parameters: object) -> Any:
    """What is answered, with numbers as their text."""
    url = f"{client.url}/udf/{path}"
    given = {name: str(each) for name, each in parameters.items()}
    async with client.http.get(url, params=given) as response:
        assert response.status == 200, await response.text()
        return json.loads(await response.text(), parse_float=str)


async def bars(client: Client, resolution: str, since: int, until: int, **more: object) -> Any:
    given = {"symbol": "btc_usd", "resolution": resolution, "from": since, "to": until, **more}
    return await got(client, "history", **given)


async def refused(client: Client, path: str, **parameters: object) -> tuple[int, str]:
    url = f"{client.url}/udf/{path}"
    given = {name: str(each) for name, each in parameters.items()}
    async with client.http.get(url, params=given) as response:
        body = await response.json()
        assert body.keys() == {"s", "errmsg"}
        assert body["s"] == "error"
        return response.status, body["errmsg"]


def seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())


async def test_an_adapter_draws_a_day_of_what_the_search_finds(client: Client) -> None:
    assert (await got(client, "config"))["supported_resolutions"] == [*RESOLUTIONS]
    (found,) = await got(client, "search", query="BTC", type="", exchange="", limit=30)
    symbol = await got(client, "symbols", symbol=found["full_name"])
    now = int(await got(client, "time"))
    assert abs(now - datetime.now(UTC).timestamp()) < 60
    given = {"symbol": symbol["ticker"], "resolution": "60", "from": NOON - HOUR, "to": NOON + DAY}

    answer = await got(client, "history", **given, countback=24, currencyCode="USD")

    assert (answer["s"], answer["t"]) == ("ok", [NOON - HOUR, NOON, NOON + HOUR])


@pytest.mark.parametrize("resolution", RESOLUTIONS)
async def test_the_bars_are_the_candles_digit_for_digit(client: Client, resolution: str) -> None:
    query = """query ($interval: Interval!, $from: DateTime!, $to: DateTime!) {
        candles(ticker: "BTC", interval: $interval, from: $from, to: $to) {
            openTime open high low close } }"""
    fine = RESOLUTIONS[resolution].length < timedelta(hours=1)
    begin = "2026-01-31T00:00:00Z" if fine else "2026-01-01T00:00:00Z"
    bounds = {"from": begin, "to": "2026-02-01T00:00:00Z"}
    candles = await client.data(query, interval=RESOLUTIONS[resolution].name, **bounds)
    assert candles

    answer = await bars(client, resolution, *map(seconds, bounds.values()))

    assert answer["s"] == "ok"
    assert answer["t"] == [seconds(each["openTime"]) for each in candles]
    for name in ("open", "high", "low", "close"):
        assert answer[name[0]] == [each[name] for each in candles]


def test_each_interval_has_a_resolution() -> None:
    assert {each.name for each in RESOLUTIONS.values()} == {*INTERVALS}


@pytest.mark.parametrize(
    ("ticker", "scale"), [("btc_usd", 100), ("shib_usdc", 10**12), ("eth_usd", 100)]
)
async def test_a_symbol_has_the_scale_of_its_live_prices(
    client: Client, ticker: str, scale: int
) -> None:
    symbol = await got(client, "symbols", symbol=ticker.upper())

    assert (symbol["pricescale"], symbol["minmov"]) == (scale, 1)
    assert (symbol["name"], symbol["ticker"]) == (ticker.upper(), ticker)
    assert (symbol["session"], symbol["timezone"]) == ("24x7", "Etc/UTC")


@pytest.mark.parametrize("query", ["btc", "BTC_USD", "BTCUSD", "btc/usd", "usd"])
async def test_a_search_finds_a_ticker_however_it_is_written(client: Client, query: str) -> None:
    found = await got(client, "search", query=query)

    assert found[0]["symbol"] == "BTC_USD"


async def test_a_search_is_limited_and_filtered(client: Client) -> None:
    async def names(**parameters: object) -> list[str]:
        return [each["ticker"] for each in await got(client, "search", **parameters)]

    assert await names(query="") == ["btc_usd", "shib_usdc"]
    assert await names(query="usdc") == ["shib_usdc"]
    assert await names(query="", limit=1) == ["btc_usd"]
    assert await names(query="", exchange="DEMO", type="index", limit=30) == [
        "btc_usd",
        "shib_usdc",
    ]
    assert await names(query="", exchange="nyse") == []
    assert await names(query="", type="stock") == []


async def test_countback_is_stronger_than_from_and_looks_behind_gaps(client: Client) -> None:
    answer = await bars(client, "1", NOON + 3 * HOUR, NOON + 4 * HOUR, countback=3)

    assert answer["t"] == [NOON + 60, NOON + 5 * 60, NOON + 61 * 60]


async def test_without_bars_the_time_of_the_last_one_before_is_told(client: Client) -> None:
    day_after = await bars(client, "15", NOON + DAY, NOON + 2 * DAY)
    assert day_after == {"s": "no_data", "nextTime": NOON + HOUR}

    last = await bars(client, "15", day_after["nextTime"], day_after["nextTime"] + 900)
    assert last["t"] == [NOON + HOUR]
    nothing = {"s": "no_data", "nextTime": NOON - HOUR}
    assert await bars(client, "60", NOON, NOON) == nothing
    assert "nextTime" in await bars(client, "15", NOON + DAY, NOON + 90 * DAY, countback=10)
    assert await bars(client, "15", NOON - 2 * DAY, NOON - DAY) == {"s": "no_data"}
    assert await bars(client, "1M", 0, 1, countback=300) == {"s": "no_data"}


async def test_a_long_range_is_answered_with_its_latest_intervals(
    settings: Settings, sessions: Sessions
) -> None:
    await fill_days(sessions, 5)
    end = seconds("2026-01-06T00:00:00Z")

    async with serving(settings) as client:
        answer = await bars(client, "1", 0, end)

    assert answer["t"] == [*range(end - 4_999 * 60, end, 60)]


async def test_a_closed_range_is_304_until_a_row_comes_late(
    client: Client, sessions: Sessions
) -> None:
    url = f"{client.url}/udf/history?symbol=btc_usd&resolution=60&from={NOON}&to={NOON + DAY}"
    async with client.http.get(url) as first:
        etag = first.headers["ETag"]
        assert first.headers["Cache-Control"] == "public, no-cache"
    async with client.http.get(url, headers={"If-None-Match": etag}) as again:
        assert (again.status, await again.read()) == (304, b"")
    await insert(sessions, quote(at=30, price="7.5", origin=Origin.REPAIRED))

    async def again_with_etag() -> tuple[int, str]:
        async with client.http.get(url, headers={"If-None-Match": etag}) as late:
            return late.status, await late.text()

    _, body = await wait(again_with_etag, lambda found: found[0] == 200)
    assert json.loads(body, parse_float=str)["l"][0] == "7.5"


async def test_an_open_range_is_not_stored(client: Client) -> None:
    now = int(datetime.now(UTC).timestamp())
    url = f"{client.url}/udf/history?symbol=btc_usd&resolution=60&from={NOON}&to={now + DAY}"

    async with client.http.get(url) as response:
        assert response.headers["Cache-Control"] == "no-store"


GOOD = {"symbol": "btc_usd", "resolution": "1", "from": 0, "to": NOON}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"symbol": ""}, "`symbol` is missing"),
        ({"symbol": "b!c"}, "is not a ticker"),
        ({"resolution": "7"}, "`resolution` is one of 1, 5, 15"),
        ({"resolution": ""}, "`resolution` is one of 1, 5, 15"),
        ({"from": "yesterday"}, "`from` is a whole number, not 'yesterday'"),
        ({"to": ""}, "`to` is a whole number"),
        ({"to": "9" * 5_000}, "`to` is a whole number"),
        ({"countback": "1.5"}, "`countback` is a whole number"),
        ({"from": NOON, "to": 1}, "`from` is later than `to`"),
    ],
)
async def test_what_cannot_be_drawn_is_an_error_that_says_what_to_change(
    client: Client, wrong: dict[str, object], words: str
) -> None:
    status, message = await refused(client, "history", **{**GOOD, **wrong})

    assert (status, words in message) == (400, True)


async def test_an_unknown_symbol_and_an_unknown_address_are_errors(client: Client) -> None:
    for path in ("symbols", "history"):
        status, message = await refused(client, path, **{**GOOD, "symbol": "nosuch"})
        assert (status, "Unknown here: nosuch_usd" in message) == (404, True)
    assert (await refused(client, "marks"))[0] == 400


@pytest.mark.parametrize("far", [-1, 10**15 - 1])
async def test_times_beyond_the_calendar_are_its_ends(client: Client, far: int) -> None:
    for resolution in RESOLUTIONS:
        answer = await bars(client, resolution, min(far, 0), max(far, 0), countback=1)
        assert answer["s"] == "ok" or ("nextTime" in answer) is (far > 0)


async def test_tokens_budgets_and_origins_hold_as_for_graphql(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, *QUOTES)
    origin = "https://charts.example"
    bound = changed(settings, points_per_minute=1_000, allowed_origins=(origin,))
    async with serving(bound) as client:
        url = f"{client.url}/udf/time"
        async with client.http.get(url, headers={"Origin": origin}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == origin
        statuses = set()
        for number in range(60):
            url = f"{client.url}/udf/history?symbol=btc_usd&resolution=1M&from=0&to={NOON + number}"
            async with client.http.get(url) as response:
                statuses.add(response.status)
                if response.status == 429:
                    assert int(response.headers["Retry-After"]) > 0
        assert statuses == {200, 429}

    async with serving(changed(settings, access="token")) as client:
        status, message = await refused(client, "config")
        assert (status, "access token" in message) == (401, True)
