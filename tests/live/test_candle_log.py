"""The log of one ticker's candles, and that its subscribers share it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from rows import NOON, insert, quote, until

from quotes.database import connections
from quotes.database.sessions import Sessions
from quotes.live.candle_log import Candle, CandleStream, CandleStreams
from quotes.live.feed import open_feed
from quotes.live.single_flight import SingleFlight
from quotes.market import intervals
from quotes.market.coverage import MINUTE
from quotes.settings import Settings

FIVE_MINUTES = intervals.parse("5m")


@pytest.fixture
async def streams(settings: Settings, sessions: Sessions) -> AsyncIterator[CandleStreams]:
    connect = connections.connector(settings.require_database_url(), name="feed")
    async with open_feed(sessions, connect, sessions) as (feed, _):
        await feed.position()
        yield CandleStreams(sessions, feed, SingleFlight(feed))


def hour_to_come() -> int:
    """A whole hour that has not begun yet, in minutes after noon; so no clock ends its candles."""
    now = datetime.now(UTC)
    return (now.replace(minute=0, second=0, microsecond=0) - NOON) // MINUTE + 120


async def closes(stream: CandleStream, cursor: int) -> list[tuple[str, bool]]:
    events, _ = await stream.log.beyond(cursor, None, stream.log.history)
    return [(format(each.candle.rolled.close, "f"), each.candle.complete) for each in events]


def candle_tasks() -> list[asyncio.Task[Any]]:
    """Of all streams of candles; apart from those that come and go with a connection."""
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("candle-")]


async def test_subscribers_to_the_same_candles_share_a_stream_that_ends_with_the_last_of_them(
    streams: CandleStreams,
) -> None:
    async with (
        streams.joined("btc_usd", FIVE_MINUTES, UTC) as first,
        streams.joined("btc_usd", FIVE_MINUTES, UTC) as second,
        streams.joined("eth_usd", FIVE_MINUTES, UTC) as other,
    ):
        assert first is second
        assert first is not other
        assert len(candle_tasks()) == 4
    assert not candle_tasks()
    async with streams.joined("btc_usd", FIVE_MINUTES, UTC) as again:
        assert again is not first


async def test_whoever_reads_late_skips_what_is_outdated_and_sees_each_candle_complete(
    streams: CandleStreams, sessions: Sessions
) -> None:
    begin = hour_to_come()
    async with streams.joined("btc_usd", FIVE_MINUTES, UTC) as stream:
        for count, at in enumerate((0, 1, 2, 5, 6, 10), 1):
            await insert(sessions, quote(at=begin + at, price=str(count)))
            await until(lambda: stream.log.last >= count)  # noqa: B023  # awaited at once
        await until(lambda: stream.log.last == 8)

        assert await closes(stream, 0) == [("3", True), ("5", True), ("6", False)]
        assert await closes(stream, 7) == [("6", False)]


async def test_a_fault_of_the_log_reaches_its_subscribers(
    streams: CandleStreams, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Candle:
        raise ZeroDivisionError

    async with streams.joined("btc_usd", FIVE_MINUTES, UTC) as stream:
        monkeypatch.setattr("quotes.live.candle_log.Candle", broken)
        await insert(sessions, quote(at=hour_to_come()))

        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(stream.log.beyond(0, None, 0), 20)
