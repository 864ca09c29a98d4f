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
from quotes.context import Context, Info, TickerArgument, require_known
from quotes.feed import RETRY
from quotes.intervals import Interval
from quotes.models import Quote

log = structlog.get_logger()

# How long a candle waits for its last minute's quote, unless a later one's comes before.
GRACE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Growing:
    """One candle, as long as it grows."""

    sessions: store.Sessions
    ticker: str
    interval: Interval
    zone: tzinfo
    start: datetime
    complete: bool = False

    @property
    def end(self) -> datetime:
        return self.interval.after(self.start, self.zone)

    async def read(self) -> list[Candle]:
        """The candle; none where it has no quote. Waits for a database that is away."""
        while True:
            try:
                async with self.sessions() as session:
                    limits, now = [self.start, self.end], datetime.now(UTC)
                    found = await candles.read(session, self.ticker, limits, Fill.NONE, now)
            except store.LOST as error:
                log.warning("candle_waits_for_database", reason=repr(error))
                await asyncio.sleep(RETRY)
            else:
                return [replace(each, complete=self.complete) for each in found]

    def at(self, moment: datetime) -> "Growing":
        """The candle that `moment` is in."""
        return replace(self, start=self.interval.start(moment, self.zone))


async def follow(growing: Growing, context: Context, cursor: int) -> AsyncIterator[Candle]:
    """This candle, then each as it grows; every one that was begun is told complete once.

    A quote of a candle that is over already is not told.
    """
    for candle in await context.readings.now(growing):
        yield candle
    quotes = context.feed.follow(cursor, {growing.ticker})
    coming = asyncio.ensure_future(anext(quotes))
    try:
        while True:
            end = growing.end
            quote = await _until(coming, end + GRACE)
            if quote is None or quote.minute >= end:
                for candle in await context.readings.now(replace(growing, complete=True)):
                    yield candle
                next_at = datetime.now(UTC) if quote is None else quote.minute
                growing = growing.at(max(end, next_at))
            if quote is not None:
                coming = asyncio.ensure_future(anext(quotes))
                if quote.minute >= growing.start:
                    for candle in await context.readings.now(growing):
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
        context, zone = info.context, clocks(time_zone)
        start = interval.start(datetime.now(UTC), zone)
        growing = Growing(context.sessions, ticker, interval, zone, start)
        async for candle in follow(growing, context, await context.feed.position()):
            yield candle
