"""Sparklines: real quotes, no extreme lost, and ends by which each change is told."""

import random
from collections.abc import AsyncIterator
from datetime import timedelta

import plain
import pytest
from client import Client, serving
from rows import insert, log, quote

from quotes.api.history.sparklines import hours
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions
from quotes.settings import Settings

DAY = timedelta(days=1)
SPARKLINES = """
    query ($tickers: [Ticker!], $window: Duration, $points: Int) {
      sparklines(tickers: $tickers, window: $window, points: $points) { ticker times prices }
    }
"""


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


def line(quotes: list[Quote]) -> tuple[list[int], list[str]]:
    return (
        [int(each.minute.timestamp()) for each in quotes],
        [format(each.price, "f") for each in quotes],
    )


async def walks(sessions: Sessions, tickers: list[str]) -> None:
    """Two days of each, one minute in five, with equal prices among them."""
    chance = random.Random(3)  # noqa: S311  # no secret
    for ticker in tickers:
        there = [at for at in range(2 * 1_440) if chance.random() < 1 / 5]
        await insert(
            sessions, *[quote(ticker, at, f"{chance.randint(90, 110)}.50") for at in there]
        )


@pytest.mark.parametrize(
    ("window", "points"), [("1d", 54), ("1d", 20), ("90m", 54), ("36h", 6), ("1d", 2), ("10h", 5)]
)
async def test_the_window_s_ends_and_each_part_s_extremes_are_answered(
    client: Client, sessions: Sessions, window: str, points: int
) -> None:
    length = {"1d": DAY, "90m": DAY / 16, "36h": 1.5 * DAY, "10h": timedelta(hours=10)}[window]
    await walks(sessions, ["btc_usd", "eth_usd"])

    shown = await client.data(SPARKLINES, window=window, points=points)

    stored = await log(sessions)
    assert [each["ticker"] for each in shown] == ["btc_usd", "eth_usd"]
    for each in shown:
        quotes = [quote for quote in stored if quote.ticker == each["ticker"]]
        expected = plain.sparkline(quotes, length, hours(length, points))
        assert (each["times"], each["prices"]) == line(expected)
        assert 2 <= len(expected) <= points


@pytest.mark.parametrize("length", [timedelta(minutes=1), DAY, 7 * DAY + timedelta(minutes=1)])
def test_there_are_no_more_points_than_requested(length: timedelta) -> None:
    touched = length // timedelta(hours=1) + 1  # at the most, by hours that begin in it

    for points in range(2, 201):
        each = hours(length, points)
        parts = -(-(touched - 1) // each) + 1 if each else 0  # wherever the first of them begins
        assert 2 + 2 * parts <= points


async def test_two_points_are_the_ends_of_the_change(client: Client, sessions: Sessions) -> None:
    await walks(sessions, ["btc_usd"])

    shown = await client.data(
        """{ sparklines(points: 2) { prices }
             change(ticker: "BTC") { base { price } latest { price } } }"""
    )

    assert shown["sparklines"] == [
        {"prices": [shown["change"]["base"]["price"], shown["change"]["latest"]["price"]]}
    ]


@pytest.mark.parametrize("ago", [59, 60, 66, 67])
async def test_a_first_point_is_as_old_as_the_base_of_a_change_may_be(
    client: Client, sessions: Sessions, ago: int
) -> None:
    await insert(sessions, quote(at=60 - ago, price="1.50"), quote(at=60, price="2.50"))

    shown = await client.data(
        """{ sparklines(window: "1h", points: 2) { prices }
             change(ticker: "BTC", window: "1h") { base { price } } }"""
    )

    first = [] if shown["change"]["base"] is None else ["1.50"]
    assert shown["sparklines"] == [{"prices": [*first, "2.50"]}]


async def test_a_ticker_without_a_day_begins_with_its_first_quote_and_one_without_any_is_left_out(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, quote("eth_usd", 0, "3000.10", origin=Origin.BACKFILLED))

    shown = await client.data(SPARKLINES, tickers=["btc", "eth"])

    assert shown == [{"ticker": "eth_usd", "times": [1769860800], "prices": ["3000.10"]}]


@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({"points": 1}, "BAD_INPUT", "`points` is 2 to 200; 1 were requested."),
        (
            {"tickers": ["btc"], "points": 201},
            "BAD_INPUT",
            "`points` is 2 to 200; 201 were requested.",
        ),
        ({"tickers": ["nosuch_usd"]}, "UNKNOWN_TICKER", "Unknown here: nosuch_usd."),
        ({"tickers": ["btc"] * 501, "points": 2}, "BAD_INPUT", "At most 500 tickers at once"),
        ({"window": "3650d", "points": 200}, "BAD_INPUT", "are the most"),
    ],
)
async def test_what_cannot_be_answered_is_refused_in_words(
    client: Client, variables: dict[str, object], code: str, words: str
) -> None:
    refused, sentence = await client.refusal(SPARKLINES, **variables)

    assert refused == code
    assert words in sentence
