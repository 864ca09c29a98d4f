"""The GraphQL schema: what can be asked. A resolver checks, asks the store, maps the rows."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Annotated

import strawberry
from graphql import GraphQLError
from strawberry.extensions import ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from quotes.api import cursors, freshness, pagination, types
from quotes.api.candle_updates import CandleSubscription
from quotes.api.candles import CandleQuery
from quotes.api.context import (
    Context,
    Info,
    SomeTickers,
    TickerArgument,
    chosen,
    known_tickers,
    require_known,
)
from quotes.api.cost import Cost
from quotes.api.document_limits import Limits, Named, Parsed
from quotes.api.errors import Refusal, Refusals, bad_input
from quotes.api.execution import Executor
from quotes.api.gaps import GapQuery
from quotes.api.price_at import MomentQuery
from quotes.api.scalars import SCALARS, Ticker
from quotes.api.series import SeriesQuery
from quotes.database import models, store
from quotes.live.feed import CursorAheadError, Feed
from quotes.live.snapshots import Snapshot

MAX_INTERVAL = 3_600  # seconds between two quotes of a ticker, for who wants few


@strawberry.type(description='What can be asked. `latestPrice(ticker: "BTC")` is a start.')
class Query(CandleQuery, SeriesQuery, GapQuery, MomentQuery):
    @strawberry.field(
        description=(
            "A ticker's quotes, oldest first, a page at a time. Without a range: all there are. "
            f"A page holds {pagination.DEFAULT_SIZE:,} unless `first` or `last` says otherwise."
        )
    )
    async def prices(  # noqa: PLR0913, PLR0917  # the contract's own arguments
        self,
        info: Info,
        ticker: TickerArgument,
        date: Annotated[
            date | None,
            strawberry.argument(description="The UTC day [00:00, 24:00). Not with `from`, `to`."),
        ] = None,
        since: Annotated[
            datetime | None,
            strawberry.argument(name="from", description="The first minute; it is included."),
        ] = None,
        until: Annotated[
            datetime | None,
            strawberry.argument(name="to", description="The end of the range; it is excluded."),
        ] = None,
        first: Annotated[
            int | None,
            strawberry.argument(
                description=f"The oldest so many of the range, 1 to {pagination.LARGEST_SIZE:,}."
            ),
        ] = None,
        after: Annotated[
            str | None,
            strawberry.argument(description="Only what follows this edge's cursor."),
        ] = None,
        last: Annotated[
            int | None,
            strawberry.argument(
                description=f"The newest so many of the range, 1 to {pagination.LARGEST_SIZE:,}."
            ),
        ] = None,
        before: Annotated[
            str | None,
            strawberry.argument(description="Only what precedes this edge's cursor."),
        ] = None,
    ) -> types.QuoteConnection:
        page = pagination.page(
            pagination.span(ticker, date, since, until), first, after, last, before
        )
        quotes = await pagination.read(info.context.sessions, page)
        if not quotes:
            await require_known(info.context, [ticker])
        now = datetime.now(UTC)
        return types.QuoteConnection(
            nodes=[types.Quote.of(quote, now) for quote in quotes],
            page_info=types.PageInfo(
                start_cursor=cursors.page(quotes[0].minute) if quotes else None,
                end_cursor=cursors.page(quotes[-1].minute) if quotes else None,
                earlier=partial(pagination.earlier, info.context.sessions, page, quotes),
                later=partial(pagination.later, info.context.sessions, page, quotes),
            ),
        )

    @strawberry.field(
        description=(
            "A ticker's newest quote; null before its first. With `maxAge`, an older or missing "
            "one is refused as STALE_PRICE; `extensions` then tell the `lastGood` price, its "
            "`ageSeconds` and the `cause`."
        )
    )
    async def latest_price(
        self,
        info: Info,
        ticker: TickerArgument,
        max_age: Annotated[
            timedelta | None,
            strawberry.argument(description="How old `observedAt` may be, as `90s`; any if null."),
        ] = None,
    ) -> types.Quote | None:
        async with info.context.sessions() as session:
            quotes = await store.newest(session, [ticker])
            failures = await store.last_failures(session, [ticker]) if max_age else []
        if not quotes:
            await require_known(info.context, [ticker])
        quote = types.Quote.of(quotes[0], datetime.now(UTC)) if quotes else None
        if max_age is not None:
            freshness.require(ticker, quote, failures, max_age)
        return quote

    @strawberry.field(
        description="The newest quote of each ticker that has one, in the order of their names."
    )
    async def latest_prices(self, info: Info, tickers: SomeTickers = None) -> list[types.Quote]:
        names = await chosen(info.context, tickers)
        async with info.context.sessions() as session:
            quotes = await store.newest(session, names)
        now = datetime.now(UTC)
        return [
            types.Quote.of(quote, now) for quote in sorted(quotes, key=lambda quote: quote.ticker)
        ]

    @strawberry.field(
        description="Every ticker collected here or with quotes, in the order of their names."
    )
    async def tickers(self, info: Info) -> list[types.TickerInfo]:
        names = await known_tickers(info.context)
        async with info.context.sessions() as session:
            first = {quote.ticker: quote for quote in await store.oldest(session, names)}
            last = {quote.ticker: quote for quote in await store.newest(session, names)}
            failed = {row.ticker: row for row in await store.last_failures(session, names)}
        now = datetime.now(UTC)
        return [
            types.TickerInfo(
                name=Ticker(name),
                source=last[name].source if name in last else None,
                collected=name in info.context.settings.tickers,
                first=types.Quote.of(first[name], now) if name in first else None,
                last=types.Quote.of(last[name], now) if name in last else None,
                last_failure=types.Failure.of(failed[name]) if name in failed else None,
            )
            for name in names
        ]


@strawberry.type(
    description="What can be followed, over graphql-transport-ws and server-sent events."
)
class Subscription(CandleSubscription):
    @strawberry.subscription(
        description=(
            "Quotes as they are committed, each exactly once and in order. Without `after`: the "
            "newest quote of each ticker, then each new one. With `after`: everything since that "
            "cursor, then each new one; so a client that hands back the last cursor it saw loses "
            "nothing. Carries LIVE and REPAIRED quotes; BACKFILLED ones are read by `prices`."
        )
    )
    async def price_updates(
        self,
        info: Info,
        tickers: SomeTickers = None,
        after: Annotated[
            str | None,
            strawberry.argument(description="The `cursor` of the last quote that was seen."),
        ] = None,
        min_interval: Annotated[
            int | None,
            strawberry.argument(
                description=(
                    "For dashboards: at most one quote of each ticker in so many seconds, always "
                    f"the newest; what came between is skipped. 1 to {MAX_INTERVAL:,}. All quotes "
                    "if left out."
                )
            ),
        ] = None,
    ) -> AsyncIterator[types.Quote]:
        quotes = updates(info.context, tickers, after, min_interval)
        async with aclosing(quotes):
            async for quote in quotes:
                yield types.Quote.of(quote, datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Start:
    """Where a subscriber begins: with the snapshot, and then with what follows `cursor`."""

    cursor: int
    snapshot: Sequence[models.Quote]
    tickers: frozenset[str] | None


async def start(context: Context, tickers: list[Ticker] | None, after: str | None) -> Start:
    """Raises Refusal for what cannot be followed, and of `store.LOST`."""
    wanted = None if tickers is None else frozenset(await chosen(context, tickers))
    snapshot: Sequence[models.Quote] = ()
    if after is None:
        cursor, snapshot = await context.readings.now(Snapshot(context.sessions, wanted))
    else:
        cursor = cursors.seq_of(after)
    try:
        await context.feed.reach(cursor)
    except CursorAheadError:
        raise ahead() from None
    return Start(cursor, snapshot, wanted)


def ahead() -> Refusal:
    return bad_input(
        "`after` is a cursor from the future: this stream has not come that far. Leave it out "
        "to begin with the newest quotes."
    )


async def updates(
    context: Context,
    tickers: list[Ticker] | None = None,
    after: str | None = None,
    min_interval: int | None = None,
) -> AsyncGenerator[models.Quote, None]:
    """What `priceUpdates` carries, as rows. Raises Refusal, and of `store.LOST` at its start."""
    if min_interval is not None and not 1 <= min_interval <= MAX_INTERVAL:
        raise bad_input(f"`minInterval` is 1 to {MAX_INTERVAL:,} seconds, not {min_interval}.")
    begin = await start(context, tickers, after)
    for quote in begin.snapshot:
        yield quote
    if begin.snapshot and min_interval is not None:
        await asyncio.sleep(min_interval)
    quotes = _from(context.feed, begin.cursor, begin.tickers, min_interval)
    try:
        async with aclosing(quotes):
            async for quote in quotes:
                yield quote
    except CursorAheadError:
        raise ahead() from None


def _from(
    feed: Feed, begin: int, tickers: frozenset[str] | None, min_interval: int | None
) -> AsyncGenerator[models.Quote, None]:
    if min_interval is None:
        return feed.follow(begin, tickers)
    return feed.sample(begin, min_interval, tickers)


class Schema(strawberry.Schema):
    """Without Strawberry's log, where each fault of a client's is an error with its traceback."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Nothing: `refusals.told` logs what is ours."""


schema = Schema(
    query=Query,
    subscription=Subscription,
    extensions=[Limits, Parsed, ValidationCache, Named, Cost, Refusals],
    execution_context_class=Executor,
    config=StrawberryConfig(scalar_map=SCALARS),
)


def sdl() -> str:
    """The schema as text, as `schema.graphql` holds it."""
    return schema.as_str() + "\n"
