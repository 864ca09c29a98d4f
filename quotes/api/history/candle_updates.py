"""`candleUpdates`: candles as they grow."""

from collections.abc import AsyncIterator
from dataclasses import replace

import strawberry

from quotes.api.context import Info, TickerArgument, require_known
from quotes.api.history.candles import Candle, IntervalArgument, TimeZone, clocks
from quotes.live import candle_log
from quotes.live.candle_log import GRACE, CandleStreams


def shown(candle: candle_log.Candle) -> Candle:
    of = Candle.of(candle.rolled, candle.start, candle.end, candle.as_of)
    return replace(of, complete=candle.complete)


@strawberry.type
class CandleSubscription:
    @strawberry.subscription(
        description=(
            "The candle under way, sent again with each of its quotes. `complete` turns true once "
            f"for each: with the first quote after it, or {GRACE.seconds} seconds after its end. "
            "What is repaired or backfilled still later is in `candles`, not here."
        )
    )
    async def candle_updates(
        self,
        info: Info,
        ticker: TickerArgument,
        interval: IntervalArgument,
        time_zone: TimeZone = None,
    ) -> AsyncIterator[Candle]:
        """For what has no shared payload (see `plans.subscriptions`), one candle at a time."""
        await require_known(info.context, [ticker])
        context = info.context
        streams = CandleStreams(context.replays, context.feed, context.single_flight)
        async with streams.joined(ticker, interval, clocks(time_zone)) as stream:
            events, cursor = await stream.log.snapshot()
            while True:
                for event in events:
                    yield shown(event.candle)
                events, cursor = await stream.log.beyond(cursor, None, stream.log.history)
