"""The client's queries on a real service, against what the table holds."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import plain
import pytest
from client import serving
from rows import NOON, insert, minute, quote

from quotes.client import AsyncClient, BadInputError, Fill, Interval, candles, history
from quotes.database.sessions import Sessions
from quotes.market.intervals import INTERVALS
from quotes.settings import Settings

MINUTE = timedelta(minutes=1)
LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[AsyncClient]:
    """Of a service whose tables are empty."""
    async with serving(settings) as service, AsyncClient(service.url) as client:
        yield client


def shown(quotes: list[Any]) -> list[tuple[str, datetime, Decimal]]:
    return [(each.ticker, getattr(each, "minute", None) or each.at, each.price) for each in quotes]


async def test_prices_are_all_that_the_range_has(client: AsyncClient, sessions: Sessions) -> None:
    stored = [quote(at=at, price=f"{at + 801}.50") for at in range(-800, 800, 7)]
    await insert(sessions, *stored, quote("eth_usd"))
    day = datetime(2026, 1, 31, tzinfo=UTC)

    assert shown(await client.prices("BTC")) == shown(stored)
    assert shown(await client.prices("BTC", day.date())) == shown(
        [each for each in stored if day <= each.minute < day + timedelta(days=1)]
    )
    assert await client.prices("BTC", "2026-01-31") == await client.prices("BTC", day.date())
    assert shown(await client.prices("BTC", since=minute(-1), until=minute(6))) == shown(
        [each for each in stored if minute(-1) <= each.minute < minute(6)]
    )
    assert await client.prices("BTC", since=minute(5_000)) == []


async def test_a_price_keeps_its_digits_and_its_moments(
    client: AsyncClient, sessions: Sessions
) -> None:
    stored = quote(price="0.000000012300")
    await insert(sessions, stored)

    (found,) = await client.prices("BTC")

    assert (f"{found.price:f}", found.at, found.observed_at, found.source, found.origin) == (
        "0.000000012300",
        NOON,
        stored.observed_at,
        "demo",
        "LIVE",
    )


@pytest.mark.parametrize("size", [1, 2, 5, 7, 8])
async def test_pages_of_any_size_hold_each_quote_once(
    client: AsyncClient, sessions: Sessions, size: int
) -> None:
    stored = [quote(at=at) for at in range(7)]
    await insert(sessions, *stored)

    pages = [page async for page in history.pages(client._endpoint, "btc_usd", size)]

    assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
    assert shown([each for page in pages for each in page]) == shown(stored)


async def test_a_range_of_several_pages_is_read_to_its_end(
    client: AsyncClient, sessions: Sessions
) -> None:
    stored = [quote(at=at) for at in range(history.PAGE + 10)]
    await insert(sessions, *stored)

    sizes = [len(page) async for page in client.price_pages("BTC")]

    assert sizes == [history.PAGE, 10]
    assert shown(await client.prices("BTC", since=minute(1))) == shown(stored[1:])


async def test_candles_are_those_of_the_table_over_empty_years(
    client: AsyncClient, sessions: Sessions
) -> None:
    stored = [
        quote(at=at, price=str(100 + at % 13))
        for at in (-2_000_000, -1_999_999, -candles.PIECE, -1, 0, 5, candles.PIECE - 1)
    ]
    await insert(sessions, *stored)

    for interval in ("1m", "1h", "1d", "1w", "1mo"):
        found = await client.candles("BTC", interval, since=LONG_AGO)

        wanted = plain.candles(stored, INTERVALS[interval].start)
        assert {each.open_time: plain_candle(each) for each in found} == wanted
        assert [each.open_time for each in found] == sorted(wanted)


def plain_candle(candle: Any) -> plain.Candle:
    return plain.Candle(candle.open, candle.high, candle.low, candle.close, candle.count)


async def test_candles_that_are_filled_have_no_gap_between_the_pieces(
    client: AsyncClient, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=0), quote(at=2 * candles.PIECE))

    for fill in ("NULL", "PREVIOUS"):
        found = await client.candles(
            "BTC", "1m", since=NOON, until=minute(2 * candles.PIECE + 1), fill=fill
        )

        assert [each.open_time for each in found] == [
            minute(at) for at in range(2 * candles.PIECE + 1)
        ]
        assert (found[1].open, found[-2].close) == (
            (None, None) if fill == "NULL" else (found[0].close, found[0].close)
        )


@pytest.mark.parametrize("interval", get_args(Interval))
@pytest.mark.parametrize("fill", get_args(Fill))
async def test_no_piece_of_candles_is_refused_for_its_cost(
    client: AsyncClient, sessions: Sessions, interval: Interval, fill: Fill
) -> None:
    await insert(sessions, quote())

    pages = client.candle_pages(
        "BTC", interval, since="2019-01-01T00:00:00Z", fill=fill, time_zone="Europe/Berlin"
    )

    assert await anext(pages)
    await pages.aclose()


async def test_gaps_are_all_listed(client: AsyncClient, sessions: Sessions) -> None:
    stored = [quote(at=at) for at in range(0, 3_000, 2)]
    await insert(sessions, *stored)

    found = await client.gaps("BTC", until=minute(3_000))

    assert [(each.since, each.until) for each in found.nodes] == plain.gaps(
        [each.minute for each in stored], NOON, minute(3_000)
    )
    assert (found.since, found.until, found.expected, found.present) == (
        NOON,
        minute(3_000),
        3_000,
        1_500,
    )


async def test_a_series_has_its_points_and_the_cursor_to_go_on_from(
    client: AsyncClient, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at, price=str(at + 1)) for at in range(10)))

    series = await client.series("BTC", since=NOON)
    await insert(sessions, quote(at=10))
    stream = client.follow("BTC", after=series.cursor)

    assert [(each.at, each.price) for each in series.points] == [
        (minute(at), Decimal(at + 1)) for at in range(10)
    ]
    assert (series.count, (await anext(stream)).at) == (10, minute(10))
    await stream.aclose()


async def test_the_newest_of_each_ticker_says_whether_it_is_stale(
    client: AsyncClient, sessions: Sessions
) -> None:
    await insert(
        sessions, *(quote(name, at=at) for name in ("btc_usd", "eth_usd") for at in (0, 1))
    )

    assert [(each.ticker, each.at, each.stale) for each in await client.latest()] == [
        ("btc_usd", minute(1), True),
        ("eth_usd", minute(1), True),
    ]
    assert [each.ticker for each in await client.latest("ETH")] == ["eth_usd"]
    assert await client.latest_price("BTC") is not None
    assert [each.name for each in await client.tickers()] == ["btc_usd", "eth_usd"]


async def test_any_other_query_can_be_sent(client: AsyncClient, sessions: Sessions) -> None:
    await insert(sessions, quote())
    document = "query ($of: Ticker!) { change(ticker: $of) { latest { price } } }"

    assert await client.query(document, {"of": "BTC"}) == {
        "change": {"latest": {"price": "100000.5"}}
    }
    with pytest.raises(BadInputError, match="Cannot query field 'nope'"):
        await client.query("{ nope }")


async def test_a_moment_without_a_time_zone_is_refused(client: AsyncClient) -> None:
    for since in ("2026-01-31T12:00:00", datetime(2026, 1, 31)):  # noqa: DTZ001
        with pytest.raises(ValueError, match="has no time zone"):
            await client.prices("BTC", since=since)
    with pytest.raises(ValueError, match="is no moment"):
        await client.prices("BTC", since="yesterday")
    with pytest.raises(ValueError, match="is no interval"):
        await client.candles("BTC", "1M", since=NOON)  # type: ignore[arg-type]
