"""Candles: the range requested, how it is read, and what fills intervals without quotes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from itertools import islice, pairwise
from typing import Annotated, Self
from zoneinfo import ZoneInfo

import strawberry
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.api.context import (
    Context,
    Info,
    TickerArgument,
    require_kept,
    require_known,
    retired_before,
)
from quotes.api.errors import bad_input
from quotes.api.pagination import span
from quotes.database.log import rollup, store
from quotes.database.queries import history
from quotes.database.sessions import Sessions
from quotes.live.thread import Thread
from quotes.market.coverage import HOUR, hour_of
from quotes.market.intervals import EPOCH, Interval

MOST = 5_000  # candles of one answer
USUAL = 500  # candles of an answer without `from`, give or take what the calendar does
MINUTE = timedelta(minutes=1)

TimeZone = Annotated[
    ZoneInfo | None,
    strawberry.argument(
        description=(
            "Whose clocks the candles follow; UTC if left out. A day that the clocks are changed "
            "on has 23 or 25 hours, and longer candles than `1h` are shorter or longer on it."
        )
    ),
]
IntervalArgument = Annotated[
    Interval, strawberry.argument(description="How long each candle is, as `5m`, `1h` or `1mo`.")
]


@strawberry.enum(description="What stands for an interval without quotes.")
class Fill(Enum):
    NONE = strawberry.enum_value("NONE", description="Nothing: such a candle is left out.")
    NULL = strawberry.enum_value("NULL", description="A candle whose prices are null.")
    PREVIOUS = strawberry.enum_value(
        "PREVIOUS",
        description="The last price before it, four times; null where there is none before it.",
    )


@strawberry.type(description="A ticker's prices over an interval, from one quote a minute.")
class Candle:
    open_time: datetime = strawberry.field(description="When it begins; included.")
    close_time: datetime = strawberry.field(description="When it ends; excluded.")
    open: str | None = strawberry.field(description="The first price, exact; null if filled so.")
    high: str | None = strawberry.field(description="The highest price, exact.")
    low: str | None = strawberry.field(description="The lowest price, exact.")
    close: str | None = strawberry.field(description="The last price, exact.")
    count: int = strawberry.field(description="How many minutes have a quote; 0 if it is filled.")
    coverage: float = strawberry.field(
        description="`count` of the minutes that were over so far, from 0 to 1."
    )
    complete: bool = strawberry.field(
        description=(
            "Whether it is over. A quote that is repaired or backfilled later still changes it."
        )
    )
    filled: bool = strawberry.field(
        description="Whether it is made up, as `fill` says, for an interval without quotes."
    )

    @classmethod
    def of(cls, rolled: history.Ohlc, start: datetime, end: datetime, now: datetime) -> Self:
        passed = (min(end, now) - start) // MINUTE
        return cls(
            open_time=start,
            close_time=end,
            open=format(rolled.open, "f"),
            high=format(rolled.high, "f"),
            low=format(rolled.low, "f"),
            close=format(rolled.close, "f"),
            count=rolled.count,
            coverage=rolled.count / max(rolled.count, passed),
            complete=end <= now,
            filled=False,
        )

    @classmethod
    def made_up(cls, price: Decimal | None, start: datetime, end: datetime, now: datetime) -> Self:
        same = None if price is None else format(price, "f")
        return cls(
            open_time=start,
            close_time=end,
            open=same,
            high=same,
            low=same,
            close=same,
            count=0,
            coverage=0.0,
            complete=end <= now,
            filled=True,
        )


def bounds(
    interval: Interval,
    zone: tzinfo,
    since: datetime | None,
    until: datetime | None,
    now: datetime,
) -> list[datetime]:
    """Where the candles that begin in [since, until) begin, and where the last ends.

    Empty where there are none; none begins after `now`. Raises RefusedError for too many.
    """
    end = now + timedelta(microseconds=1) if until is None else min(until, now)
    if end <= EPOCH or (since is not None and since >= end):
        return []  # and the calendar's own ends are out of range in some zones
    begin = interval.start(end, zone) - (USUAL - 1) * interval.length if since is None else since
    begin = max(begin, EPOCH)
    starts = list(islice(interval.starts(begin, end, zone), MOST + 1))
    if len(starts) > MOST:
        raise bad_input(
            f"The range holds more than {MOST:,} candles of {interval.name}; request a shorter "
            "range or a longer interval, and go on with the last candle's `closeTime` as `from`."
        )
    return [*starts, interval.after(starts[-1], zone)] if starts else []


async def bounds_of(
    context: Context, interval: Interval, zone: tzinfo, asked: store.Span, now: datetime
) -> list[datetime]:
    """As `bounds`, in a thread for a zone's clocks, which are slow to look at.

    Raises RefusedError where they take minutes that are no longer kept.
    """
    if zone is UTC:
        found = bounds(interval, zone, asked.since, asked.until, now)
    else:
        found = await context.thread.run(bounds, interval, zone, asked.since, asked.until, now)
    retired = await retired_before(context)
    if found and retired is not None and found[0] < retired:
        within = [bound for bound in found if bound < retired]
        if interval.length < HOUR or any(hour_of(bound) != bound for bound in within):
            await require_kept(context, found[0])
    return found


async def read(  # noqa: PLR0913, PLR0917  # what it reads with, and what
    sessions: Sessions,
    thread: Thread,
    ticker: str,
    bounds: Sequence[datetime],
    fill: Fill,
    now: datetime,
) -> list[Candle]:
    """The candles between each bound and the next."""
    last = None
    async with sessions() as session:
        rolled = await history.candles(session, ticker, bounds[:-1], bounds[-1])
        if fill is Fill.PREVIOUS:
            last = await _price_before(session, ticker, bounds[0])
    return await thread.run(_candles, rolled, bounds, fill, last, now)


def _candles(
    rolled: Sequence[history.Ohlc],
    bounds: Sequence[datetime],
    fill: Fill,
    last: Decimal | None,
    now: datetime,
) -> list[Candle]:
    """`last` is the price before the first candle."""
    if fill is Fill.NONE:
        return [
            Candle.of(each, bounds[each.bucket], bounds[each.bucket + 1], now) for each in rolled
        ]
    found, candles = {each.bucket: each for each in rolled}, []
    for bucket, (start, end) in enumerate(pairwise(bounds)):
        if each := found.get(bucket):
            candles.append(Candle.of(each, start, end, now))
            last = each.close if fill is Fill.PREVIOUS else None
        else:
            candles.append(Candle.made_up(last, start, end, now))
    return candles


async def _price_before(session: AsyncSession, ticker: str, moment: datetime) -> Decimal | None:
    before = store.Span(ticker, until=moment)
    quotes = await store.page(session, before, limit=1, newest_first=True)
    return quotes[0].price if quotes else await rollup.close_before(session, ticker, moment)


def clocks(zone: ZoneInfo | None) -> tzinfo:
    """UTC itself where it is named, because its buckets need no calendar."""
    return UTC if zone is None or zone.key == "UTC" else zone


@strawberry.type
class CandleQuery:
    @strawberry.field(
        description=(
            f"A ticker's candles that begin in [from, to), oldest first; at most {MOST:,} at once. "
            "So ranges that touch never share a candle, and `from` may be the last `closeTime`. "
            "A candle is never cut: `complete` is false for the newest while it is under way."
        )
    )
    async def candles(  # noqa: PLR0913, PLR0917  # the contract's own arguments
        self,
        info: Info,
        ticker: TickerArgument,
        interval: IntervalArgument,
        since: Annotated[
            datetime | None,
            strawberry.argument(
                name="from",
                description=f"The earliest beginning; if left out, some {USUAL} before `to`.",
            ),
        ] = None,
        until: Annotated[
            datetime | None,
            strawberry.argument(
                name="to", description="Candles begin before it; now if left out or later."
            ),
        ] = None,
        fill: Annotated[
            Fill | None,
            strawberry.argument(description="What stands for an interval without quotes."),
        ] = Fill.NONE,
        time_zone: TimeZone = None,
    ) -> list[Candle]:
        now = info.context.now()
        asked = span(ticker, None, since, until)
        limits = await bounds_of(info.context, interval, clocks(time_zone), asked, now)
        candles: list[Candle] = []
        if limits:
            sessions, thread = info.context.sessions, info.context.thread
            candles = await read(sessions, thread, ticker, limits, fill or Fill.NONE, now)
        if not any(candle.count for candle in candles):
            await require_known(info.context, [ticker])
        return candles
