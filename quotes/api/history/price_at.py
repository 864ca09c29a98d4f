"""The price at a moment, and how far it has moved since."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from enum import Enum
from typing import Annotated

import strawberry
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.api.context import Context, Info, TickerArgument, require_kept, require_known
from quotes.api.types import Quote
from quotes.database import models
from quotes.database.log import store

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
PERCENT = Decimal("0.0001")  # the last digit shown
DIGITS = 100  # more than a difference of two prices can have, so that it is exact
_TICK = timedelta(microseconds=1)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)  # leaves room to step beyond


@strawberry.enum(description="On which side of a moment a quote is looked for.")
class Direction(Enum):
    BEFORE = strawberry.enum_value("BEFORE", description="The newest at or before the moment.")
    AFTER = strawberry.enum_value("AFTER", description="The oldest at or after the moment.")
    NEAREST = strawberry.enum_value(
        "NEAREST", description="The nearer of the two; the older where both are as near."
    )


async def nearest(
    session: AsyncSession, ticker: str, at: datetime, direction: Direction, within: timedelta | None
) -> models.Quote | None:
    """The quote whose minute is nearest to `at` on that side, and at most `within` away."""
    at = min(at, _LAST)
    found: list[models.Quote] = []
    if direction is not Direction.AFTER:
        before = store.Span(ticker, until=at + _TICK)
        found += await store.page(session, before, limit=1, newest_first=True)
    if direction is not Direction.BEFORE:
        found += await store.page(session, store.Span(ticker, since=at), limit=1)
    quote = min(found, key=lambda each: abs(each.minute - at), default=None)
    if quote is None or (within is not None and abs(quote.minute - at) > within):
        return None
    return quote


def patience(window: timedelta) -> timedelta:
    """How much older than the window a base may be: history may have one quote an hour or a day."""
    return max(window / 10, 2 * MINUTE)


@strawberry.type(description="How far a ticker's price has moved over a window that ends with it.")
class Change:
    window: timedelta = strawberry.field(description="How long the window is.")
    latest: Quote = strawberry.field(description="The newest quote, which may be stale.")
    base: Quote | None = strawberry.field(
        description=(
            "The newest quote that is at least a window older; null where there is none, or where "
            "it is a tenth of the window (at least 2 minutes) older than that."
        )
    )
    absolute: str | None = strawberry.field(
        description="`latest` less `base`, exact, in the price's unit; null without a base."
    )
    percent: str | None = strawberry.field(
        description="`absolute` in percent of `base`, to 4 decimals; null without a base."
    )


@strawberry.type
class MomentQuery:
    @strawberry.field(
        description="The ticker's quote at a moment, or beside it; null where there is none."
    )
    async def price_at(
        self,
        info: Info,
        ticker: TickerArgument,
        at: Annotated[datetime, strawberry.argument(description="The moment.")],
        direction: Annotated[
            Direction | None, strawberry.argument(description="Where to look beside it.")
        ] = Direction.BEFORE,
        max_distance: Annotated[
            timedelta | None,
            strawberry.argument(
                description="How far away its minute may be, as `5m`; any distance if left out."
            ),
        ] = None,
    ) -> Quote | None:
        await require_kept(info.context, at)
        async with info.context.sessions() as session:
            quote = await nearest(session, ticker, at, direction or Direction.BEFORE, max_distance)
        if quote is None:
            await require_known(info.context, [ticker])
            return None
        return Quote.of(quote, info.context.now(), info.context.collection)

    @strawberry.field(
        description="How far a ticker's price has moved; null before its first quote."
    )
    async def change(
        self,
        info: Info,
        ticker: TickerArgument,
        window: Annotated[
            timedelta | None,
            strawberry.argument(description="From when on, as `1h`, `24h` or `7d`."),
        ] = DAY,
    ) -> Change | None:
        window = window or DAY
        async with info.context.sessions() as session:
            newest = await store.newest(session, [ticker])
            base = None
            if newest:
                since = newest[0].minute - window
                await require_kept(info.context, since)
                base = await nearest(session, ticker, since, Direction.BEFORE, patience(window))
        if not newest:
            await require_known(info.context, [ticker])
            return None
        return _change(info.context, newest[0], base, window)


def _change(
    context: Context, latest: models.Quote, base: models.Quote | None, window: timedelta
) -> Change:
    now, collection = context.now(), context.collection
    absolute = percent = None
    if base is not None:
        with localcontext(prec=DIGITS):
            moved = latest.price - base.price
            absolute = format(moved, "f")
            percent = format((moved / base.price * 100).quantize(PERCENT), "f")
    return Change(
        window=window,
        latest=Quote.of(latest, now, collection),
        base=None if base is None else Quote.of(base, now, collection),
        absolute=absolute,
        percent=percent,
    )
