"""Series: real points, no extreme lost, and the stream that goes on where they end."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import chain
from uuid import uuid4

import plain
import pytest
from client import Client, serving
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rows import insert, log, minute, quote

from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions
from quotes.settings import Settings


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


SERIES = """
    query ($ticker: Ticker!, $from: DateTime, $to: DateTime, $most: Int! = 1000) {
      series(ticker: $ticker, from: $from, to: $to, maxPoints: $most) {
        times prices count cursor
      }
    }
"""
UPDATES = """
    subscription ($after: String!, $tickers: [Ticker!]) {
      priceUpdates(after: $after, tickers: $tickers) { timestamp price }
    }
"""


def points(quotes: list[Quote]) -> list[tuple[int, str]]:
    return [(int(each.minute.timestamp()), format(each.price, "f")) for each in quotes]


@given(
    prices=st.dictionaries(st.integers(0, 200), st.integers(10, 30), min_size=1, max_size=60),
    most=st.integers(4, 60),
    bounds=st.tuples(st.integers(-5, 100), st.integers(101, 205)),
)
@hypothesis_settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_of_a_range_with_many_quotes_each_bucket_s_extremes_are_answered(
    client: Client,
    sessions: Sessions,
    prices: dict[int, int],
    most: int,
    bounds: tuple[int, int],
) -> None:
    ticker = f"t{uuid4().hex[:8]}_usd"
    await insert(
        sessions, quote(ticker, at=-9), *(quote(ticker, at, f"{prices[at]}.50") for at in prices)
    )
    since, until = map(minute, bounds)

    shown = await client.data(
        SERIES, ticker=ticker, most=most, **{"from": since.isoformat()}, to=until.isoformat()
    )

    within = [each for each in await log(sessions) if each.ticker == ticker]
    within = sorted(
        (each for each in within if since <= each.minute < until), key=lambda each: each.minute
    )
    expected = plain.thinned(within, most)
    assert shown["count"] == len(within)
    assert list(zip(shown["times"], shown["prices"], strict=True)) == points(expected)


async def test_a_short_range_is_complete_and_exact(client: Client, sessions: Sessions) -> None:
    quotes = [quote(at=at, price=f"100.{at}0") for at in range(6)]
    await insert(sessions, *quotes)

    shown = await client.data(SERIES, ticker="btc", **{"from": "2026-01-31T12:01:00Z"},
                             to="2026-01-31T12:05:00Z")  # fmt: skip

    assert list(zip(shown["times"], shown["prices"], strict=True)) == points(quotes[1:5])
    assert shown["count"] == 4


async def test_of_a_long_range_each_bucket_s_extremes_are_answered(
    client: Client, sessions: Sessions
) -> None:
    chance = random.Random(7)  # noqa: S311  # no secret
    days = 40 * 1_440
    there = [at for at in range(0, days, 3) if not 20_000 < at < 25_000]
    await insert(sessions, *[quote(at=at, price=str(chance.randint(900, 1_100))) for at in there])
    quotes = await log(sessions)

    for begin, end in ((30, 1_001), (60, 1_020)):
        since, until = minute(begin), minute(days - end)

        shown = await client.data(
            SERIES, ticker="btc", most=200, **{"from": since.isoformat()}, to=until.isoformat()
        )

        within = [each for each in quotes if since <= each.minute < until]
        hours = -(-(days - end) // 60) - begin // 60  # those touched, in 50 buckets at most
        length, start = timedelta(hours=-(-hours // 50)), minute(begin // 60 * 60)
        buckets = defaultdict(list)
        for each in within:
            buckets[(each.minute - start) // length].append(each)
        expected = set(chain.from_iterable(map(plain.outermost, buckets.values())))
        assert shown["count"] == len(within)
        assert list(zip(shown["times"], shown["prices"], strict=True)) == sorted(
            (int(at.timestamp()), format(price, "f")) for at, price in expected
        )


async def test_of_a_long_range_with_few_quotes_each_is_answered(
    client: Client, sessions: Sessions
) -> None:
    quotes = [quote(at=at, price=str(at + 1)) for at in (*range(10), *range(0, 40 * 1_440, 777))]
    await insert(sessions, *quotes)

    shown = await client.data(SERIES, ticker="btc")

    assert set(zip(shown["times"], shown["prices"], strict=True)) == set(points(quotes))


@given(batches=st.lists(st.sets(st.integers(0, 60), min_size=1, max_size=8), max_size=6),
       read_after=st.integers(0, 6))  # fmt: skip
@hypothesis_settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_the_stream_goes_on_after_a_series_without_gap_or_double(
    client: Client, sessions: Sessions, batches: list[set[int]], read_after: int
) -> None:
    ticker = f"t{uuid4().hex[:8]}_usd"
    await insert(sessions, quote(ticker, at=-1))
    for batch in batches[:read_after]:
        await insert(sessions, *(quote(ticker, at) for at in batch))
    shown = await client.data(SERIES, ticker=ticker)
    for batch in batches[read_after:]:
        await insert(sessions, *(quote(ticker, at) for at in batch))
    await insert(sessions, quote(ticker, at=61))

    streamed: list[int] = []
    async with client.subscription(UPDATES, after=shown["cursor"], tickers=[ticker]) as updates:
        while not streamed or streamed[-1] != int(minute(61).timestamp()):
            streamed.append((await updates.next())["timestamp"])

    expected = {-1, 61}.union(*batches)
    assert sorted(shown["times"] + streamed) == [
        int(minute(at).timestamp()) for at in sorted(expected)
    ]


async def test_a_ticker_without_quotes_is_an_empty_series_that_can_be_followed(
    client: Client, sessions: Sessions
) -> None:
    shown = await client.data(SERIES, ticker="btc")

    assert (shown["times"], shown["prices"], shown["count"]) == ([], [], 0)
    async with client.subscription(UPDATES, after=shown["cursor"]) as updates:
        await insert(sessions, quote(at=1), quote(at=0, origin=Origin.BACKFILLED))
        assert (await updates.next())["timestamp"] == int(minute(1).timestamp())


@pytest.mark.parametrize("most", [3, 10_001, -1])
async def test_too_few_or_too_many_points_are_refused(client: Client, most: int) -> None:
    code, sentence = await client.refusal(SERIES, ticker="btc", most=most)

    assert (code, "10,000" in sentence) == ("BAD_INPUT", True)
