"""What is shown in place of an answer: a client's faults to the client, ours to the log."""

import logging
from collections.abc import AsyncIterator

import pytest
import structlog
from client import Client, serving
from rows import failure, insert, quote, record

from quotes.api import cost
from quotes.database.sessions import Sessions
from quotes.settings import Settings


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ('{ latestPrice(ticker: "doge_usd") { price } }', "UNKNOWN_TICKER", "doge_usd"),
        ('{ prices(ticker: "doge_usd") { nodes { price } } }', "UNKNOWN_TICKER", "doge_usd"),
        ('{ latestPrices(tickers: ["BTC", "DOGE"]) { price } }', "UNKNOWN_TICKER", "doge_usd"),
        ('{ latestPrice(ticker: "btc/usd") { price } }', "BAD_INPUT", "base_quote"),
        ('{ latestPrice(ticker: "") { price } }', "BAD_INPUT", "base_quote"),
        ('{ latestPrice(ticker: "b\\u0000tc") { price } }', "BAD_INPUT", "base_quote"),
        ("{ latestPrice(ticker: 5) { price } }", "BAD_INPUT", "string"),
        ("{ latestPrice { price } }", "BAD_INPUT", "required"),
        ("{ nope }", "BAD_INPUT", "nope"),
        ("{ tickers {", "BAD_INPUT", "Syntax"),
        (
            "query A { tickers { name } } query B { latestPrices { at } }",
            "BAD_INPUT",
            "operationName",
        ),
        ('{ prices(ticker: "BTC", first: -1) { nodes { at } } }', "BAD_INPUT", "1 to 10,000"),
        ('{ prices(ticker: "BTC", last: 0) { nodes { at } } }', "BAD_INPUT", "1 to 10,000"),
        ('{ prices(ticker: "BTC", first: 10001) { nodes { at } } }', "BAD_INPUT", "10,001"),
        ('{ prices(ticker: "BTC", first: 1, last: 1) { nodes { at } } }', "BAD_INPUT", "not both"),
        ('{ prices(ticker: "BTC", after: "s1") { nodes { at } } }', "BAD_INPUT", "endCursor"),
        ('{ prices(ticker: "BTC", after: "p") { nodes { at } } }', "BAD_INPUT", "cursor"),
        (
            '{ prices(ticker: "BTC", after: "p999999999999999") { nodes { at } } }',
            "BAD_INPUT",
            "cursor",
        ),
        (
            '{ prices(ticker: "BTC", date: "31.1.2026") { nodes { at } } }',
            "BAD_INPUT",
            "2026-01-31",
        ),
        (
            '{ prices(ticker: "BTC", from: "2026-01-31T12:00:00") { nodes { at } } }',
            "BAD_INPUT",
            "time zone",
        ),
        ('{ prices(ticker: "BTC", from: "noon") { nodes { at } } }', "BAD_INPUT", "ISO 8601"),
        (
            """{ prices(ticker: "BTC", from: "2026-01-31T12:00:00Z", to: "2026-01-31T12:00:00Z")
                 { nodes { at } } }""",
            "BAD_INPUT",
            "before",
        ),
        (
            """{ prices(ticker: "BTC", date: "2026-01-31", to: "2026-01-31T12:00:00Z")
                 { nodes { at } } }""",
            "BAD_INPUT",
            "not both",
        ),
        ("{ " + "tickers { name } " * 500 + "}", "BAD_INPUT", "token"),
    ],
)
async def test_what_cannot_be_answered_is_refused_with_a_code_and_the_remedy(
    client: Client, caplog: pytest.LogCaptureFixture, query: str, code: str, words: str
) -> None:
    shown, sentence = await client.refusal(query)

    assert shown == code
    assert words in sentence
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("query", "column"),
    [
        ('{ latestPrice(ticker: "btc/usd") { price } }', 23),
        ('{ latestPrice(ticker: "BTC", maxAge: 90) { price } }', 38),
        ('{ candles(ticker: "BTC", interval: "1M") { open } }', 36),
        (
            '{ prices(ticker: "BTC", from: "2026-01-31T12:00:00Z", to: "noon") { nodes { at } } }',
            59,
        ),
        ('query ($to: DateTime = "noon") { prices(ticker: "BTC", to: $to) { nodes { at } } }', 24),
    ],
)
async def test_a_wrong_value_in_a_document_is_refused_with_its_place(
    client: Client, query: str, column: int
) -> None:
    (error,) = (await client.answer(query))["errors"]

    assert error["locations"] == [{"line": 1, "column": column}]
    assert error["extensions"] == {"code": "BAD_INPUT"}


async def test_a_fault_of_ours_is_shown_as_one_and_its_words_are_logged_once(
    client: Client, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    beyond = failure("ETH_WENT_TO_THE_MOON")  # as a later release may have left it
    await record(sessions, beyond)

    with structlog.testing.capture_logs() as ours:
        shown = await client.refusal("{ tickers { lastFailure { cause } } }")

    assert shown == ("INTERNAL", "Something went wrong on our side; it has been logged.")
    (line,) = [each for each in ours if each["log_level"] == "error"]
    assert (line["event"], line["path"]) == ("request_failed", ["tickers"])
    assert "ETH_WENT_TO_THE_MOON" in str(line["exc_info"])
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def test_a_failure_before_execution_is_ours_too(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(cost, "required", require)
    with structlog.testing.capture_logs() as ours:
        shown = await client.refusal("{ tickers { name } }")

    assert shown == ("INTERNAL", "Something went wrong on our side; it has been logged.")
    assert [(line["event"], line["log_level"]) for line in ours] == [("request_failed", "error")]


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("Fill", 'candles(ticker: "BTC", interval: "1d", to: "2026-02-02T00Z", fill: X) { open }'),
        ("Direction", 'priceAt(ticker: "BTC", at: "2026-01-31T12:00:30Z", direction: X) { price }'),
        ("Duration", 'change(ticker: "BTC", window: X) { window }'),
        ("Int", 'series(ticker: "BTC", maxPoints: X) { times }'),
        ("Int", 'gaps(ticker: "BTC", to: "2026-02-01T00:00Z", first: X) { more nodes { to } }'),
    ],
)
async def test_null_means_the_default_as_a_literal_a_variable_and_a_variable_s_default(
    client: Client, sessions: Sessions, kind: str, field: str
) -> None:
    await insert(sessions, quote(at=0), quote(at=1))
    variable = field.replace("X", "$value")
    left_out = await client.data(f"query ($value: {kind}) {{ {variable} }}")

    assert await client.data(f"{{ {field.replace('X', 'null')} }}") == left_out
    assert await client.data(f"query ($value: {kind}) {{ {variable} }}", value=None) == left_out
    assert await client.data(f"query ($value: {kind} = null) {{ {variable} }}") == left_out


@pytest.mark.parametrize(
    "query",
    [
        'query ($null: Ticker = "BTC") { latestPrice(ticker: $null) { price } }',
        'query ($null: Interval = "1d") { candles(ticker: "BTC", interval: $null) { open } }',
        (
            "query ($null: Boolean) "
            '{ __type(name: "Gap") { fields(includeDeprecated: $null) { name } } }'
        ),
        "query ($null: Boolean = true) { __typename @include(if: $null) }",
    ],
)
async def test_null_where_a_value_is_needed_is_the_client_s_error(
    client: Client, query: str
) -> None:
    code, sentence = await client.refusal(query, null=None)

    assert code == "BAD_INPUT"
    assert "null" in sentence


async def test_a_very_long_value_is_not_repeated(client: Client) -> None:
    number = "9" * 5_000

    _, sentence = await client.refusal(
        f'{{ prices(ticker: "BTC", first: {number}) {{ __typename }} }}'
    )

    assert len(sentence) < 600


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("interval", ["1m", "1d", "1w", "1mo"])
async def test_candles_at_the_calendar_s_ends_are_none(
    client: Client, interval: str, zone: str
) -> None:
    query = """query ($interval: Interval!, $zone: TimeZone, $from: DateTime, $to: DateTime) {
        candles(ticker: "BTC", interval: $interval, timeZone: $zone, from: $from, to: $to) {
            open } }"""
    for since, until in [
        (None, "0001-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:01Z"),
        ("9999-12-31T23:59:59Z", None),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"),
    ]:
        variables = {"interval": interval, "zone": zone, "from": since, "to": until}
        assert await client.data(query, **variables) == []
