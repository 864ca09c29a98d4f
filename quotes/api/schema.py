"""The GraphQL schema. A resolver checks its arguments, reads the database and maps the rows."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import partial
from typing import Annotated

import strawberry
from graphql import GraphQLError, GraphQLObjectType
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from quotes.api import cost, cursors, freshness, pagination, types
from quotes.api.constituents import ConstituentQuery
from quotes.api.context import (
    Context,
    Info,
    SomeTickers,
    TickerArgument,
    chosen,
    known_tickers,
    require_known,
    retired_before,
    utc_now,
)
from quotes.api.documents import Checked, Limits, Named
from quotes.api.errors import ErrorCodes, bad_input
from quotes.api.execution import Execution, Places, name_of
from quotes.api.history.candle_updates import CandleSubscription
from quotes.api.history.candles import CandleQuery
from quotes.api.history.gaps import GapQuery
from quotes.api.history.price_at import MomentQuery
from quotes.api.history.series import SeriesQuery
from quotes.api.history.sparklines import SparklineQuery
from quotes.api.price_updates import PriceSubscription
from quotes.api.scalars import SCALARS, Percent, Ticker
from quotes.database import backfills, constituents, heartbeats
from quotes.database.log import store


@strawberry.type(description='What can be queried. `latestPrice(ticker: "BTC")` is a start.')
class Query(CandleQuery, SeriesQuery, SparklineQuery, GapQuery, MomentQuery, ConstituentQuery):
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
        await pagination.require_kept_page(info.context, page)
        quotes = await pagination.read(info.context.sessions, page)
        if not quotes:
            await require_known(info.context, [ticker])
        now, collection = info.context.now(), info.context.collection
        return types.QuoteConnection(
            nodes=[types.Quote.of(quote, now, collection) for quote in quotes],
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
            "one is refused as STALE_PRICE; `extensions` then have the `lastGood` price, its "
            "`ageSeconds` and the `cause`. With `maxSpread`, one whose `confidence` is wider, or "
            "not known, is refused as UNCERTAIN_PRICE; `extensions` then have the `lastGood` "
            "price, its `spread` and `percent`."
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
        max_spread: Annotated[
            Percent | None,
            strawberry.argument(
                description="How large `confidence { percent }` may be, as `0.5%`; any if null."
            ),
        ] = None,
    ) -> types.Quote | None:
        async with info.context.sessions() as session:
            quotes = await store.newest(session, [ticker])
            failures = await store.last_failures(session, [ticker]) if max_age else []
        if not quotes:
            await require_known(info.context, [ticker])
        now, collection = info.context.now(), info.context.collection
        known = (await constituents.spreads(info.context.queries, [ticker])).get(ticker)
        quote = types.Quote.of(quotes[0], now, collection, known) if quotes else None
        if max_age is not None:
            freshness.require(ticker, quote, failures, max_age)
        if max_spread is not None:
            freshness.require_within(ticker, quote, max_spread)
        return quote

    @strawberry.field(
        description="The newest quote of each ticker that has one, in the order of their names."
    )
    async def latest_prices(self, info: Info, tickers: SomeTickers = None) -> list[types.Quote]:
        names = await chosen(info.context, tickers)
        async with info.context.sessions() as session:
            quotes = await store.newest(session, names)
        known = await constituents.spreads(info.context.queries, names)
        now, collection = info.context.now(), info.context.collection
        return [
            types.Quote.of(quote, now, collection, known.get(quote.ticker))
            for quote in sorted(quotes, key=lambda quote: quote.ticker)
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
            charts: defaultdict[str, list[types.UnfinishedChart]] = defaultdict(list)
            for chart in await backfills.unfinished(session, names):
                charts[chart.ticker].append(types.UnfinishedChart.of(chart))
            idle = freshness.idle_reason(await heartbeats.last(session))
        retired = await retired_before(info.context)
        now, collection = info.context.now(), info.context.collection
        collection.see(failed.values())  # so that `last { stale }` is as `staleReason` says
        return [
            types.TickerInfo(
                name=Ticker(name),
                source=last[name].source if name in last else None,
                collected=name in collection.tickers,
                first=types.Quote.of(first[name], now, collection) if name in first else None,
                last=types.Quote.of(last[name], now, collection) if name in last else None,
                last_failure=types.Failure.of(failed[name]) if name in failed else None,
                stale_reason=(
                    freshness.stale_reason(last.get(name), failed.get(name), idle, now)
                    if name in collection.tickers
                    else None
                ),
                retired_before=retired,
                unfinished_charts=charts[name],
            )
            for name in names
        ]


@strawberry.type(
    description="What can be followed, over graphql-transport-ws and server-sent events."
)
class Subscription(CandleSubscription, PriceSubscription):
    pass


class CheckedExecution(Execution):
    """Executes what has no plan, and what is wrong."""

    def check(self, root: GraphQLObjectType, fields: Mapping[str, Places]) -> None:
        """Nothing is executed that costs too much, or is switched off. Raises RefusedError."""
        now = utc_now()
        if isinstance(self.context_value, Context):
            now = self.context_value.now()
            if not self.context_value.settings.introspection:
                _require_none_of_the_schema(fields)
        cost.required(cost.of(self, root, fields, now))


def _require_none_of_the_schema(fields: Mapping[str, Places]) -> None:
    if {"__schema", "__type"} & {name_of(each) for each in fields.values()}:
        raise bad_input(
            "The schema cannot be queried here; this service's release has it as `schema.graphql`."
        )


class Schema(strawberry.Schema):
    """Without Strawberry's log, where each fault of a client's is an error with its traceback."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Nothing: `errors.client_error` logs what is ours."""


schema = Schema(
    query=Query,
    subscription=Subscription,
    extensions=[Limits, Checked, Named, ErrorCodes],
    execution_context_class=CheckedExecution,
    config=StrawberryConfig(scalar_map=SCALARS),
)


def sdl() -> str:
    """The schema as text, as `schema.graphql` holds it."""
    return schema.as_str() + "\n"
