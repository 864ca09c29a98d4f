"""Candles as they grow: each told anew with each of its quotes, and once more when it is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo

import strawberry
import structlog

from quotes import candles, store
from quotes.candles import Candle, Fill, IntervalArgument, TimeZone, clocks
from quotes.context import Info, TickerArgument, require_known
from quotes.feed import RETRY, Feed
from quotes.intervals import Interval
from quotes.models import Quote

log = structlog.get_logger()

# How long a candle waits for its last minute's quote, unless a later one's comes before.
GRACE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Growing:
    """Which candles are followed."""

    sessions: store.Sessions
    ticker: str
    interval: Interval
    zone: tzinfo

    async def at(self, start: datetime, *, complete: bool) -> list[Candle]:
        """The candle that begins then; none where it has no quote."""
        limits = [start, self.interval.after(start, self.zone)]
        while True:
            try:
                async with self.sessions() as session:
                    now = datetime.now(UTC)
                    found = await candles.read(session, self.ticker, limits, Fill.NONE, now)
            except store.LOST as error:
                log.warning("candle_waits_for_database", reason=repr(error))
                await asyncio.sleep(RETRY)
            else:
                return [replace(each, complete=complete) for each in found]


async def follow(growing: Growing, feed: Feed, cursor: int) -> AsyncIterator[Candle]:
    """The candle under way, then each as it grows; every one that was begun is told complete once.

    A quote of a candle that is over already is not told.
    """
    start = growing.interval.start(datetime.now(UTC), growing.zone)
    for candle in await growing.at(start, complete=False):
        yield candle
    quotes = feed.follow(cursor, {growing.ticker})
    coming = asyncio.ensure_future(anext(quotes))
    try:
        while True:
            end = growing.interval.after(start, growing.zone)
            quote = await _until(coming, end + GRACE)
            if quote is None or quote.minute >= end:
                for candle in await growing.at(start, complete=True):
                    yield candle
                moment = datetime.now(UTC) if quote is None else quote.minute
                start = max(end, growing.interval.start(moment, growing.zone))
            if quote is not None:
                coming = asyncio.ensure_future(anext(quotes))
                if quote.minute >= start:
                    for candle in await growing.at(start, complete=False):
                        yield candle
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError):
            await coming


async def _until(coming: "asyncio.Future[Quote]", end: datetime) -> Quote | None:
    """The quote, or None if none has come by then."""
    left = (end - datetime.now(UTC)).total_seconds()
    await asyncio.wait({coming}, timeout=max(left, 0))
    return coming.result() if coming.done() else None


@strawberry.type
class CandleSubscription:
    @strawberry.subscription(
        description=(
            "The candle under way, told anew with each of its quotes. `complete` turns true once "
            f"for each: with the first quote after it, or {GRACE.seconds} seconds after its end. "
            "What is repaired or backfilled still later is told by `candles`, not here."
        )
    )
    async def candle_updates(
        self,
        info: Info,
        ticker: TickerArgument,
        interval: IntervalArgument,
        time_zone: TimeZone = None,
    ) -> AsyncIterator[Candle]:
        await require_known(info.context, [ticker])
        growing = Growing(info.context.sessions, ticker, interval, clocks(time_zone))
        feed = info.context.feed
        async for candle in follow(growing, feed, await feed.position()):
            yield candle
