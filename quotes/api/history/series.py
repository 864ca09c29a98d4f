"""A ticker's prices as columns for a chart, thinned out without losing an extreme."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil
from operator import itemgetter
from typing import Annotated

import strawberry
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.api import cursors
from quotes.api.context import Info, TickerArgument, require_known
from quotes.api.errors import bad_input
from quotes.api.pagination import span
from quotes.api.scalars import Timestamp
from quotes.database import history, store, stream
from quotes.market.coverage import HOUR, MINUTE, hour_of

FEWEST, MOST = 4, 10_000  # points of one answer
USUAL = 1_000
# A longer range is thinned out by the database, from the hours: here all its minutes would be held.
FINE = timedelta(days=14)

Point = tuple[datetime, Decimal]


@strawberry.type(
    description=(
        "Prices over time, in columns: the n-th price is that of the n-th time. Each point is a "
        "quote that was kept, none is made up. Where there are more than `maxPoints`, of each "
        "stretch of time the first, the highest, the lowest and the last are left, so no extreme "
        "is lost."
    )
)
class Series:
    times: list[Timestamp] = strawberry.field(
        description="The quotes' minutes in UNIX seconds, oldest first."
    )
    prices: list[str] = strawberry.field(description="The prices, exact; one for each of `times`.")
    count: int = strawberry.field(
        description="How many quotes the range has, which these points stand for."
    )
    cursor: str = strawberry.field(
        description=(
            "`priceUpdates(after:)` goes on from here: it tells each quote once that was committed "
            "after this answer was read, and none that was before. Opaque."
        )
    )


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` of the points, which are in order: the outermost four of each stretch."""
    if len(points) <= most:
        return list(points)
    begin = points[0][0]
    width = (points[-1][0] - begin + MINUTE) / (most // 4)
    kept: list[Point] = []
    first = 0
    for stretch in range(most // 4):
        end = begin + (stretch + 1) * width
        after = first
        while after < len(points) and points[after][0] < end:
            after += 1
        kept += _outermost(points[first:after])
        first = after
    return kept


def _outermost(points: Sequence[Point]) -> list[Point]:
    if not points:
        return []
    price = itemgetter(1)
    return sorted({points[0], max(points, key=price), min(points, key=price), points[-1]})


def corners(stretch: history.Bucket) -> list[Point]:
    """Its first, highest, lowest and last quote, each once and in order."""
    first = (stretch.first_minutes & -stretch.first_minutes).bit_length() - 1
    last = stretch.last_minutes.bit_length() - 1
    return sorted(
        {
            stretch.first_hour + first * MINUTE: stretch.open,
            stretch.high_at: stretch.high,
            stretch.low_at: stretch.low,
            stretch.last_hour + last * MINUTE: stretch.close,
        }.items()
    )


@strawberry.type
class SeriesQuery:
    @strawberry.field(
        description=(
            "A ticker's prices over [from, to) for a chart: as columns, thinned out to `maxPoints`."
        )
    )
    async def series(  # the contract's own arguments
        self,
        info: Info,
        ticker: TickerArgument,
        since: Annotated[
            datetime | None,
            strawberry.argument(
                name="from", description="The first minute; the ticker's first quote if left out."
            ),
        ] = None,
        until: Annotated[
            datetime | None,
            strawberry.argument(name="to", description="Excluded; without an end if left out."),
        ] = None,
        max_points: Annotated[
            int | None, strawberry.argument(description=f"At most so many, {FEWEST} to {MOST:,}.")
        ] = USUAL,
    ) -> Series:
        max_points = USUAL if max_points is None else max_points
        if not FEWEST <= max_points <= MOST:
            raise bad_input(f"`maxPoints` is {FEWEST} to {MOST:,}; {max_points:,} were asked for.")
        asked = span(ticker, None, since, until)
        async with info.context.sessions() as session:
            await history.freeze(session)
            end = await store.high_water(session)
            newest = await stream.end(session, upto=end, limit=1)
            points, count = await read(session, asked, max_points)
        if not points:
            await require_known(info.context, [ticker])
        return Series(
            times=[Timestamp(int(minute.timestamp())) for minute, _ in points],
            prices=[format(price, "f") for _, price in points],
            count=count,
            cursor=cursors.stream(newest[0]) if newest else cursors.BEGINNING,
        )


async def read(session: AsyncSession, span: store.Span, most: int) -> tuple[list[Point], int]:
    """At most `most` quotes of the span, in order, and how many it has."""
    ticker = span.ticker
    for oldest in await store.oldest(session, [ticker]):
        (newest,) = await store.newest(session, [ticker])
        since = max(span.since or oldest.minute, oldest.minute)
        until = min(span.until or newest.minute + MINUTE, newest.minute + MINUTE)
        if until - since > FINE:
            hours = ceil((until - hour_of(since)) / HOUR)
            length = ceil(hours / (most // 4)) * HOUR
            stretches = await history.buckets(session, ticker, since, until, length)
            count = sum(stretch.count for stretch in stretches)
            if count > most:
                return [point for each in stretches for point in corners(each)], count
        points = await history.prices(session, ticker, since, until)
        return thinned(points, most), len(points)
    return [], 0
