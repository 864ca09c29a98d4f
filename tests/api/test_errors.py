"""What is told in place of an answer: a client's faults to the client, ours to the log."""

import logging
from collections.abc import AsyncIterator

import pytest
import structlog
from client import Client, serving
from rows import failure

from quotes.database import store
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
async def test_what_cannot_be_answered_is_refused_with_a_code_and_the_way_to_mend_it(
    client: Client, caplog: pytest.LogCaptureFixture, query: str, code: str, words: str
) -> None:
    told, sentence = await client.refusal(query)

    assert told == code
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
async def test_a_wrong_value_in_a_document_is_told_with_its_place(
    client: Client, query: str, column: int
) -> None:
    (error,) = (await client.answer(query))["errors"]

    assert error["locations"] == [{"line": 1, "column": column}]
    assert error["extensions"] == {"code": "BAD_INPUT"}


async def test_a_fault_of_ours_is_told_as_one_and_its_words_are_logged_once(
    client: Client, sessions: store.Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    beyond = failure("ETH_WENT_TO_THE_MOON")  # as a later release may have left it
    async with sessions.begin() as session:
        await store.record_failure(session, beyond)

    with structlog.testing.capture_logs() as ours:
        told = await client.refusal("{ tickers { lastFailure { cause } } }")

    assert told == ("INTERNAL", "Something went wrong on our side; it has been logged.")
    (line,) = [each for each in ours if each["log_level"] == "error"]
    assert (line["event"], line["path"]) == ("request_failed", ["tickers"])
    assert "ETH_WENT_TO_THE_MOON" in str(line["exc_info"])
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
