"""What `candles` answers, over HTTP."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from client import Client, serving
from rows import NOON, insert, quote

from quotes.database.sessions import Sessions
from quotes.market.coverage import MINUTE
from quotes.settings import Settings


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


CANDLES = """
    query ($interval: Interval!, $from: DateTime, $to: DateTime, $fill: Fill, $zone: TimeZone) {
      candles(ticker: "BTC", interval: $interval, from: $from, to: $to, fill: $fill,
              timeZone: $zone) {
        openTime closeTime open high low close count coverage complete filled
      }
    }
"""


async def test_a_candle_has_everything_that_is_known_of_it(
    client: Client, sessions: Sessions
) -> None:
    prices = {0: "100.10", 1: "99.5", 3: "101.25", 4: "100"}
    await insert(sessions, *(quote(at=at, price=price) for at, price in prices.items()))

    (candle,) = await client.data(CANDLES, interval="5m", **{"from": "2026-01-31T12:00Z"},
                                  to="2026-01-31T12:05Z")  # fmt: skip

    assert candle == {
        "openTime": "2026-01-31T12:00:00Z",
        "closeTime": "2026-01-31T12:05:00Z",
        "open": "100.10",
        "high": "101.25",
        "low": "99.5",
        "close": "100",
        "count": 4,
        "coverage": 0.8,
        "complete": True,
        "filled": False,
    }


@pytest.mark.parametrize(
    ("fill", "closes"),
    [
        ("NONE", ["100", "200"]),
        ("NULL", [None, None, "100", None, "200", None]),
        ("PREVIOUS", [None, None, "100", "100", "200", "200"]),
    ],
)
async def test_what_is_filled_says_so(
    client: Client, sessions: Sessions, fill: str, closes: list[str | None]
) -> None:
    await insert(sessions, quote(at=10, price="100"), quote(at=20, price="200"))

    shown = await client.data(CANDLES, interval="5m", fill=fill,
                             **{"from": "2026-01-31T12:00Z"}, to="2026-01-31T12:30Z")  # fmt: skip

    assert [each["close"] for each in shown] == closes
    assert [each["filled"] for each in shown] == [not each["count"] for each in shown]
    assert all(each["open"] == each["high"] == each["low"] == each["close"] for each in shown)


async def test_a_candle_filled_first_takes_the_last_price_before_the_range(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=-500, price="90"))

    range_ = {"from": "2026-01-31T12:00Z", "to": "2026-01-31T13:00Z"}
    (shown,) = await client.data(CANDLES, interval="1h", fill="PREVIOUS", **range_)

    assert (shown["close"], shown["filled"], shown["coverage"]) == ("90", True, 0)


async def test_the_newest_candle_is_under_way_and_none_is_in_the_future(
    client: Client, sessions: Sessions
) -> None:
    now = (datetime.now(UTC) - NOON) // MINUTE
    await insert(sessions, quote(at=now - 1_500), quote(at=now))

    shown = await client.data(CANDLES, interval="1d", fill="NULL")

    assert len(shown) == 500
    assert [each["complete"] for each in shown] == [True] * 499 + [False]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ('interval: "1M"', "1mo"),
        ('interval: "7m"', "15m"),
        ("interval: 5", "string"),
        ('interval: "1h", timeZone: "Mars/Olympus"', "Europe/Berlin"),
        ('interval: "1h", timeZone: "../../etc/passwd"', "Europe/Berlin"),
        ('interval: "1h", timeZone: "Europe"', "Europe/Berlin"),
        ('interval: "1m", from: "2026-01-01T00:00Z", to: "2026-02-01T00:00Z"', "5,000"),
        ('interval: "1h", from: "2026-01-01T00:00Z", to: "2026-01-01T00:00Z"', "before"),
    ],
)
async def test_candles_that_cannot_be_had_are_refused_with_the_remedy(
    client: Client, arguments: str, words: str
) -> None:
    code, sentence = await client.refusal(
        f'{{ candles(ticker: "BTC", {arguments}) {{ openTime }} }}'
    )

    assert code == "BAD_INPUT"
    assert words in sentence


async def test_the_calendar_s_ends_are_answered(client: Client) -> None:
    everything = {"from": "0001-01-01T00:00Z", "to": "9999-12-31T23:59:59Z"}

    assert await client.data(CANDLES, interval="1mo", **everything) == []
    shown = await client.data(
        'query ($from: DateTime, $to: DateTime) { gaps(ticker: "BTC", from: $from, to: $to) '
        "{ present } }",
        **everything,
    )
    assert shown == {"present": 0}
