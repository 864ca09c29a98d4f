"""The schema's object types, each made from the row it shows."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Self

import strawberry

from quotes.api import cursors
from quotes.api.constituents import Confidence
from quotes.api.enums import Cause, Origin
from quotes.api.scalars import Ticker, Timestamp
from quotes.database import models
from quotes.database.collected import Collected
from quotes.database.constituents import Known
from quotes.market.staleness import STALE_AFTER, is_stale

MILLISECOND = timedelta(milliseconds=1)


@strawberry.type(description="One ticker's price for one minute. Once stored it never changes.")
class Quote:
    ticker: Ticker = strawberry.field(description="The exchange's index name, lower case.")
    price: str = strawberry.field(
        description=(
            "The exchange's own digits, exact, in plain decimal notation; in the unit after the "
            "underscore of the ticker (USD for `btc_usd`). A string, so that no float touches it."
        )
    )
    at: datetime = strawberry.field(description="The minute that the quote is for.")
    timestamp: Timestamp = strawberry.field(description="`at` in UNIX seconds.")
    observed_at: datetime = strawberry.field(
        description=(
            "When the exchange made this price, by its own clock, where `exactTime` is true. Else "
            "when it answered a request for it, or the moment of its chart that the price is an "
            "average around."
        )
    )
    exact_time: bool = strawberry.field(
        description=(
            "Whether `observedAt` is the price's own time, as the exchange's WebSocket reports it. "
            "False for a LIVE price that came by HTTP, which may be older than the answer that "
            "brought it, for REPAIRED and BACKFILLED ones, and for all that was stored before "
            "this was recorded."
        )
    )
    source: str = strawberry.field(
        description="Where it came from: `deribit`, or `demo` for prices that are made up."
    )
    origin: Origin = strawberry.field(description="How it came to be stored.")
    cursor: str = strawberry.field(
        description="Its place in the stream: `priceUpdates(after:)` goes on from here. Opaque."
    )
    age_seconds: float = strawberry.field(
        description="Seconds from `observedAt` to this answer, to the millisecond; at least 0."
    )
    stale: bool = strawberry.field(
        description=(
            f"Whether the price is older than {STALE_AFTER.seconds} seconds, or the exchange has "
            "locked the index, or stopped making its price, since this one (`LOCKED`, `FROZEN`)."
        )
    )

    collected: bool = strawberry.field(
        description="Whether its ticker is collected here; false for one that is only history."
    )
    confidence: Confidence | None = strawberry.field(
        description=(
            "How far the exchanges that the index is made of were apart at the most, from the "
            "beginning of this quote's minute until now. Only of `latestPrice` and `latestPrices`; "
            "null where it is not known."
        )
    )

    @classmethod
    def of(
        cls,
        quote: models.Quote,
        now: datetime,
        collection: Collected,
        known: Known | None = None,
    ) -> Self:
        """`known` is of the index."""
        age = max(now - quote.observed_at, timedelta())
        return cls(
            ticker=Ticker(quote.ticker),
            price=format(quote.price, "f"),
            at=quote.minute,
            timestamp=Timestamp(int(quote.minute.timestamp())),
            observed_at=quote.observed_at,
            exact_time=quote.exact_time,
            source=quote.source,
            origin=Origin(quote.origin),
            cursor=cursors.stream(quote),
            age_seconds=(age + MILLISECOND / 2) // MILLISECOND / 1_000,
            stale=is_stale(
                quote.minute, quote.observed_at, now, collection.halted.get(quote.ticker)
            ),
            collected=quote.ticker in collection.tickers,
            confidence=Confidence.of(quote.minute, known),
        )


@strawberry.type(description="Why a minute of a ticker could not be collected.")
class Failure:
    minute: datetime = strawberry.field(description="The minute that was requested.")
    cause: Cause = strawberry.field(description="What kind of failure it was.")
    message: str = strawberry.field(description="One sentence, with the exchange's words if any.")
    at: datetime = strawberry.field(description="When the last attempt failed.")
    attempts: int = strawberry.field(description="How many attempts of that minute failed.")

    @classmethod
    def of(cls, failure: models.Failure) -> Self:
        return cls(
            minute=failure.minute,
            cause=Cause(failure.cause),
            message=failure.message,
            at=failure.failed_at,
            attempts=failure.attempts,
        )


@strawberry.type(
    description="One of the exchange's charts, from which history comes, that is not whole yet."
)
class UnfinishedChart:
    range: str = strawberry.field(
        description="What it holds, up to now: `1h`, `1d`, `2d`, `1m` (a month), `1y` or `all`."
    )
    reason: str | None = strawberry.field(
        description="What was wrong with it the last time; null before the first."
    )
    attempts: int = strawberry.field(description="How many times it was not whole.")
    left_out: int = strawberry.field(
        description="How many of its points could not be used the last time."
    )
    due_at: datetime = strawberry.field(description="When it is fetched again, at the earliest.")

    @classmethod
    def of(cls, chart: models.Backfill) -> Self:
        return cls(
            range=chart.range,
            reason=chart.reason,
            attempts=chart.attempts,
            left_out=chart.left_out,
            due_at=chart.due_at,
        )


@strawberry.type(description="What is known of a ticker.")
class TickerInfo:
    name: Ticker = strawberry.field(description="The exchange's index name, lower case.")
    source: str | None = strawberry.field(
        description="Where its newest quote came from; null before the first."
    )
    collected: bool = strawberry.field(
        description="Whether it is collected here; false for one that is only history."
    )
    first: Quote | None = strawberry.field(description="Its oldest quote that is kept.")
    last: Quote | None = strawberry.field(description="Its newest quote.")
    last_failure: Failure | None = strawberry.field(
        description=(
            "The last minute that failed, even if a retry then succeeded; null if none ever did."
        )
    )
    stale_reason: str | None = strawberry.field(
        description=(
            "Why its last price is stale or missing, as a sentence; null while it is fresh, and "
            "for one that is not collected here."
        )
    )
    retired_before: datetime | None = strawberry.field(
        description=(
            "Quotes of minutes before it are no longer kept, of this ticker or another; candles of "
            "whole hours are. Null while all are kept."
        )
    )
    unfinished_charts: list[UnfinishedChart] = strawberry.field(
        description="Which history is still being fetched, the finest first; empty when all is."
    )


@strawberry.type(description="Where a page begins and ends.")
class PageInfo:
    start_cursor: str | None = strawberry.field(
        description="The first edge's cursor, for `before`; null on an empty page."
    )
    end_cursor: str | None = strawberry.field(
        description="The last edge's cursor, for `after`; null on an empty page."
    )
    # Each side is looked up only if it is selected.
    earlier: strawberry.Private[Callable[[], Awaitable[bool]]]
    later: strawberry.Private[Callable[[], Awaitable[bool]]]

    @strawberry.field(description="Whether later quotes of the range follow this page.")
    async def has_next_page(self) -> bool:
        return await self.later()

    @strawberry.field(description="Whether earlier quotes of the range precede this page.")
    async def has_previous_page(self) -> bool:
        return await self.earlier()


@strawberry.type(description="A quote and its place among its page's neighbours.")
class QuoteEdge:
    node: Quote = strawberry.field(description="The quote.")
    cursor: str = strawberry.field(description="For `after` and `before` of `prices`. Opaque.")


@strawberry.type(description="A page of quotes, oldest first.")
class QuoteConnection:
    nodes: list[Quote] = strawberry.field(description="The quotes, oldest first.")
    page_info: PageInfo = strawberry.field(description="Where the page begins and ends.")

    @strawberry.field(description="The quotes with a cursor each.")
    def edges(self) -> list[QuoteEdge]:
        return [QuoteEdge(node=node, cursor=cursors.page(node.at)) for node in self.nodes]
