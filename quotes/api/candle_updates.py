"""Candles as they grow: each told anew with each of its quotes, and once more when it is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo

import strawberry
import structlog

from quotes.api.candles import Candle, IntervalArgument, TimeZone, clocks
from quotes.api.context import Info, TickerArgument, require_known
from quotes.database import history, store
from quotes.database.models import Quote
from quotes.live.feed import RETRY
from quotes.live.single_flight import Readings
from quotes.market.intervals import Interval

log = structlog.get_logger()

# How long a candle waits for its last minute's quote, unless a later one's comes before.
GRACE = timedelta(seconds=10)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Growing:
    """One candle, as long as it grows."""

    sessions: store.Sessions
    ticker: str
    interval: Interval
    zone: tzinfo
    start: datetime

    @property
    def end(self) -> datetime:
        return self.interval.after(self.start, self.zone)

    async def read(self) -> list[history.Rolled]:
        """Its quotes, rolled up; none where it has none. Raises of store.LOST, and says so."""
        try:
            async with self.sessions() as session:
                return await history.candles(session, self.ticker, [self.start], self.end)
        except store.LOST as error:
            log.warning("candle_waits_for_database", reason=repr(error))
            raise

    def at(self, moment: datetime) -> "Growing":
        """The candle that `moment` is in."""
        return replace(self, start=self.interval.start(moment, self.zone))


async def follow(
    growing: Growing, readings: Readings, quotes: AsyncIterator[Quote]
) -> AsyncIterator[Candle]:
    """This candle, then each as it grows; every one that was begun is told complete once.

    A quote of a candle that is over already is not told.
    """
    for candle in await _read(growing, readings, complete=False):
        yield candle
    coming = asyncio.ensure_future(anext(quotes))
    try:
        while True:
            end = growing.end
            quote = await _until(coming, end + GRACE)
            if quote is None or quote.minute >= end:
                for candle in await _read(growing, readings, complete=True):
                    yield candle
                growing = growing.at(max(end, now() if quote is None else quote.minute))
            if quote is not None:
                coming = asyncio.ensure_future(anext(quotes))
                if quote.minute >= growing.start:
                    for candle in await _read(growing, readings, complete=False):
                        yield candle
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError):
            await coming


async def _read(growing: Growing, readings: Readings, *, complete: bool) -> list[Candle]:
    """The candle as of now; none where it has no quote. Waits for a database that is away."""
    while True:
        with suppress(*store.LOST):
            return [
                replace(Candle.of(rolled, growing.start, growing.end, now()), complete=complete)
                for rolled in await readings.now(growing)
            ]
        await asyncio.sleep(RETRY)


async def _until(coming: "asyncio.Future[Quote]", end: datetime) -> Quote | None:
    """The quote, or None if none has come by then."""
    left = (end - now()).total_seconds()
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
        start = interval.start(now(), zone)
        growing = Growing(context.sessions, ticker, interval, zone, start)
        quotes = context.feed.follow(await context.feed.position(), {ticker})
        async for candle in follow(growing, context.readings, quotes):
            yield candle
