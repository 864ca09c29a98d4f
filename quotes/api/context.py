"""What every resolver may use, and the arguments that many of them take."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

import strawberry

from quotes.api.errors import Code, RefusedError, bad_input
from quotes.api.scalars import Ticker, utc_text
from quotes.database import connections
from quotes.database.collected import Collected
from quotes.database.log import retention, store
from quotes.database.sessions import Sessions
from quotes.live.feed import Feed
from quotes.live.newest import Newest
from quotes.live.replica import Replica
from quotes.live.single_flight import SingleFlight
from quotes.live.thread import Thread
from quotes.settings import Settings

MAX_TICKERS = 500  # of one list; the exchange publishes fewer than 300


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Context:
    """What every resolver may use."""

    settings: Settings
    sessions: Sessions  # the lane of queries, through SQLAlchemy
    queries: connections.Pool  # the lane of queries, without
    replays: Sessions  # the lane of subscribers that begin or catch up
    feed: Feed
    single_flight: SingleFlight
    newest: Newest
    collection: Collected
    now: Callable[[], datetime] = utc_now
    replica: Replica | None = None  # read in place of the primary for what the log numbers
    thread: Thread = field(default_factory=Thread)  # for what takes more than a few milliseconds

    @property
    def collected(self) -> frozenset[str]:
        """The tickers collected here, now."""
        return self.collection.tickers


Info = strawberry.Info[Context, None]

TickerArgument = Annotated[
    Ticker, strawberry.argument(description="As `btc_usd`, `BTC_USD` or just `BTC`.")
]
SinceFirst = Annotated[
    datetime | None,
    strawberry.argument(
        name="from", description="The first minute; the ticker's first quote if left out."
    ),
]
UntilNow = Annotated[
    datetime | None,
    strawberry.argument(name="to", description="Excluded; now if left out or later."),
]
SomeTickers = Annotated[
    list[Ticker] | None,
    strawberry.argument(description=f"Only these, at most {MAX_TICKERS}; all if left out."),
]


async def retired_before(context: Context) -> datetime | None:
    """Minutes before it are no longer kept; None while all are."""
    if context.feed.last is not None:
        return context.feed.retired_before
    async with context.sessions() as session:  # the feed has read nothing yet
        return await retention.retired_before(session)


async def require_kept(context: Context, minute: datetime | None) -> None:
    """Raises RefusedError where the minute is one of those that are no longer kept."""
    retired = None if minute is None else await retired_before(context)
    if minute is not None and retired is not None and minute < retired:
        raise RefusedError(
            Code.RETIRED,
            f"Minutes before {utc_text(retired)} are no longer kept here. Begin there, or ask for "
            "`candles` of whole hours, which are kept for ever.",
            retiredBefore=utc_text(retired),
        )


async def known_tickers(context: Context) -> list[str]:
    """Those collected here and those with quotes, in the order of their names."""
    async with context.sessions() as session:
        stored = await store.tickers(session)
    return sorted(context.collected.union(stored))


async def require_known(context: Context, asked: Iterable[str]) -> None:
    """Raises RefusedError where one of the tickers is neither collected nor stored here."""
    if missing := set(asked) - context.collected:
        missing -= set(await known_tickers(context))
    if missing:
        names = ", ".join(sorted(missing))
        raise RefusedError(
            Code.UNKNOWN_TICKER,
            f"Unknown here: {names}. `tickers {{ name }}` lists what there is; "
            "a new ticker is added in QUOTES_TICKERS.",
        )


async def chosen(context: Context, tickers: list[Ticker] | None) -> list[str]:
    """The tickers requested, or all. Raises RefusedError for too many and for an unknown one."""
    if tickers is None:
        return await known_tickers(context)
    require_few(tickers)
    await require_known(context, tickers)
    return list(dict.fromkeys(tickers))


def require_few(tickers: Sequence[str]) -> None:
    """Raises RefusedError for too many."""
    if len(tickers) > MAX_TICKERS:
        raise bad_input(f"At most {MAX_TICKERS} tickers at once; {len(tickers)} were given.")
