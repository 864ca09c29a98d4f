"""A ticker's prices as columns for a chart, thinned out without losing an extreme."""

from datetime import datetime, timedelta
from math import ceil
from typing import Annotated

import strawberry
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.api import cursors
from quotes.api.context import (
    Info,
    SinceFirst,
    TickerArgument,
    UntilNow,
    require_known,
    retired_before,
)
from quotes.api.errors import bad_input
from quotes.api.pagination import span
from quotes.api.scalars import Timestamp
from quotes.database.log import store, stream
from quotes.database.queries import history, series
from quotes.market.coverage import HOUR, MINUTE, hour_of

FEWEST, MOST = 4, 10_000  # points of one answer
USUAL = 1_000
# A longer range is thinned out from the hours, which are fewer than its minutes.
FINE = timedelta(days=14)


@strawberry.type(
    description=(
        "Prices over time, in columns: the n-th price is that of the n-th time. Each point is a "
        "stored quote, none is made up. Where there are more than `maxPoints`, of each "
        "bucket of time the first, the highest, the lowest and the last are left, so no extreme "
        "is lost. A range that begins in minutes that are no longer kept is of whole hours, of "
        "each of which these four are left."
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
            "`priceUpdates(after:)` goes on from here: it delivers each quote once that was "
            "committed after this answer was read, and none that was before. Opaque."
        )
    )


@strawberry.type
class SeriesQuery:
    @strawberry.field(
        description=(
            "A ticker's prices over [from, to) for a chart: as columns, thinned out to `maxPoints`."
        )
    )
    async def series(
        self,
        info: Info,
        ticker: TickerArgument,
        since: SinceFirst = None,
        until: UntilNow = None,
        max_points: Annotated[
            int | None, strawberry.argument(description=f"At most so many, {FEWEST} to {MOST:,}.")
        ] = USUAL,
    ) -> Series:
        max_points = USUAL if max_points is None else max_points
        if not FEWEST <= max_points <= MOST:
            raise bad_input(f"`maxPoints` is {FEWEST} to {MOST:,}; {max_points:,} were requested.")
        asked = span(ticker, None, since, until)
        retired = await retired_before(info.context)
        async with info.context.sessions() as session:
            await history.freeze(session)
            newest = await stream.end(session, limit=1)
            found = await read(session, asked, max_points, retired)
        if not found.count:
            await require_known(info.context, [ticker])
        return Series(
            times=[Timestamp(time) for time in found.times],
            prices=found.prices,
            count=found.count,
            cursor=cursors.stream(newest[0]) if newest else cursors.BEGINNING,
        )


async def read(
    session: AsyncSession, span: store.Span, most: int, retired: datetime | None = None
) -> series.Points:
    """At most `most` quotes of the span, in order, and how many it has.

    Of whole hours alone where minutes before `retired` are in it, since those are no longer kept.
    """
    extent = await series.extent(session, span.ticker)
    if extent is None:
        return series.Points([], [], 0)
    oldest, newest = extent
    since = max(span.since or oldest, oldest)
    until = min(span.until or newest + MINUTE, newest + MINUTE)
    only_hours = retired is not None and since < retired
    if only_hours:
        since = hour_of(since)
        until = hour_of(until - MINUTE) + HOUR
    if until - since > FINE or only_hours:
        hours = ceil((until - hour_of(since)) / HOUR)
        length = ceil(hours / (most // 4)) * HOUR
        found = await series.of_hours(session, span.ticker, since, until, length)
        if found.count > most or only_hours:
            return found
    return await series.of_minutes(session, span.ticker, since, until, most)
