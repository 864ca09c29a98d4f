"""`priceUpdates`: quotes as they are committed, from where each subscriber begins."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import strawberry

from quotes.api import cursors, types
from quotes.api.context import Context, Info, SomeTickers, chosen
from quotes.api.errors import Refusal, bad_input
from quotes.api.scalars import Ticker
from quotes.database.models import Quote
from quotes.live.fan_out import conflated
from quotes.live.feed import CursorAheadError
from quotes.live.snapshots import Snapshot

MAX_INTERVAL = 3_600  # seconds between two quotes of a ticker, for those who want few


@dataclass(frozen=True, slots=True)
class Start:
    """Where a subscriber begins: with the snapshot, and then with what follows `cursor`."""

    cursor: int
    snapshot: Sequence[Quote]
    tickers: frozenset[str] | None
    interval: int | None


async def start(
    context: Context,
    tickers: list[Ticker] | None = None,
    after: str | None = None,
    min_interval: int | None = None,
) -> Start:
    """Raises Refusal for what cannot be followed, and of `DatabaseError`."""
    if min_interval is not None and not 1 <= min_interval <= MAX_INTERVAL:
        raise bad_input(f"`minInterval` is 1 to {MAX_INTERVAL:,} seconds, not {min_interval}.")
    wanted = None if tickers is None else frozenset(await chosen(context, tickers))
    snapshot: Sequence[Quote] = ()
    if after is None:
        cursor, snapshot = await context.readings.now(Snapshot(context.replays, wanted))
    else:
        cursor = cursors.seq_of(after)
    try:
        await context.feed.reach(cursor)
    except CursorAheadError:
        raise ahead() from None
    return Start(cursor, snapshot, wanted, min_interval)


def ahead() -> Refusal:
    return bad_input(
        "`after` is a cursor from the future: this stream has not come that far. Leave it out "
        "to begin with the newest quotes."
    )


@strawberry.type
class PriceSubscription:
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
        """For what has no shared payload (see `payloads.Shared`), one quote at a time."""
        feed = info.context.feed
        begin = await start(info.context, tickers, after, min_interval)
        quotes, cursor = begin.snapshot, begin.cursor
        try:
            while True:
                for quote in quotes:
                    yield types.Quote.of(quote, datetime.now(UTC))
                if begin.interval is None:
                    quotes, cursor = await feed.beyond(cursor, begin.tickers)
                else:
                    await asyncio.sleep(begin.interval if quotes else 0)
                    quotes, cursor = await conflated(feed, cursor, begin.tickers)
        except CursorAheadError:
            raise ahead() from None
