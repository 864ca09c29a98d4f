"""`priceUpdates`: quotes as they are committed, from where each subscriber begins."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import strawberry

from quotes.api import cursors, types
from quotes.api.context import Context, Info, SomeTickers, chosen
from quotes.api.errors import Code, RefusedError, bad_input
from quotes.api.scalars import Ticker
from quotes.database.log.fingerprints import fingerprint
from quotes.database.models import Quote
from quotes.live.fan_out import conflated
from quotes.live.feed import CursorLostError
from quotes.live.snapshots import Snapshot, StoredQuote

MAX_INTERVAL = 3_600  # seconds between two quotes of a ticker, for those who want few


@dataclass(frozen=True, slots=True)
class Start:
    """Where a subscriber begins: with the snapshot, and then with what follows `cursor`."""

    history: int  # of the feed: which log the cursor is a place in
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
    """Raises RefusedError for what cannot be followed, and of `DatabaseError`."""
    if min_interval is not None and not 1 <= min_interval <= MAX_INTERVAL:
        raise bad_input(f"`minInterval` is 1 to {MAX_INTERVAL:,} seconds, not {min_interval}.")
    wanted = None if tickers is None else frozenset(await chosen(context, tickers))
    history = context.feed.history  # first: what is read next may be of a later one, not an earlier
    try:
        if after is None:
            cursor, snapshot = await context.single_flight.read(Snapshot(context.replays, wanted))
            await context.feed.reach(cursor)
        else:
            cursor, snapshot = await _resumed(context, cursors.place_of(after)), ()
    except CursorLostError:
        raise cursor_lost() from None
    return Start(history, cursor, snapshot, wanted, min_interval)


async def _resumed(context: Context, place: cursors.Place) -> int:
    """The seq to go on from. Raises CursorLostError where the log has another quote there."""
    await context.feed.reach(place.seq)
    if place.seq:
        quote = await context.single_flight.read(StoredQuote(context.replays, place.seq))
        if quote is None or fingerprint(quote) != place.fingerprint:
            raise CursorLostError
    return place.seq


def cursor_lost() -> RefusedError:
    return RefusedError(
        Code.CURSOR_LOST,
        "The quote of that cursor is not in this log: the database was restored from an older "
        "copy, or the quote, or one after it, is no longer kept. Subscribe again without `after` "
        "to begin with the newest quotes, and read what came before them with `prices`.",
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
            strawberry.argument(
                description=(
                    "The `cursor` of the last quote that was seen. Where the log no longer has "
                    "that quote, as after a restore from an older copy, the subscription is "
                    "refused as CURSOR_LOST; begin again without `after`."
                )
            ),
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
        """For what has no shared payload (see `plans.subscriptions`), one quote at a time."""
        feed = info.context.feed
        begin = await start(info.context, tickers, after, min_interval)
        quotes, cursor = begin.snapshot, begin.cursor
        try:
            while True:
                for quote in quotes:
                    yield types.Quote.of(quote, datetime.now(UTC), info.context.collection)
                if begin.interval is None:
                    quotes, cursor = await feed.beyond(cursor, begin.tickers, begin.history)
                else:
                    await asyncio.sleep(begin.interval if quotes else 0)
                    quotes, cursor = await conflated(feed, cursor, begin.tickers, begin.history)
        except CursorLostError:
            raise cursor_lost() from None
