"""History from the exchange's charts: which minute a point stands for, and keeping it."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

from quotes.database import history, store
from quotes.database.models import Backfill, Origin, Quote
from quotes.market.sources import Cause, Point, Range, Source, SourceError

CHUNK = 5_000  # rows of one transaction: other writers wait for a fraction of a second
# A younger minute is left to its collector, whose own price is better than an average.
SETTLED = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class Filled:
    """What came of one chart."""

    ticker: str
    span: Range
    points: int = 0
    step: timedelta | None = None  # the smallest between two points
    kept: int = 0  # quotes that are new
    error: SourceError | None = None  # why there is no chart


async def backfill(
    ticker: str,
    spans: Iterable[Range],
    source: Source,
    sessions: store.Sessions,
    *,
    now: datetime,
) -> AsyncIterator[Filled]:
    """Keep the charts as BACKFILLED quotes, one after the other, and tell what came of each.

    What is kept already stays as it is, so a finer chart is to come before a coarser one. Safe to
    stop anywhere and to repeat. Raises of errors.DatabaseError.
    """
    for span in spans:
        try:
            points = await source.index_chart(ticker, span)
        except SourceError as error:
            yield Filled(ticker, span, error=error)
            if error.cause is Cause.UNKNOWN_INDEX:
                return
            continue
        quotes = quotes_of(ticker, points, source.name, Origin.BACKFILLED, until=now - SETTLED)
        kept = await _keep(sessions, quotes, Backfill(ticker=ticker, range=span, finished_at=now))
        yield Filled(ticker, span, len(points), step(points), kept)


def quotes_of(
    ticker: str, points: Sequence[Point], source: str, origin: Origin, *, until: datetime
) -> list[Quote]:
    """A quote for each minute, over by `until`, in which a point lies: of several, the first.

    That is the one nearest to when the minute would have been asked for. A point stands for its own
    minute alone, even where it averages an hour or a day.
    """
    firsts: dict[datetime, Point] = {}
    for point in points:
        firsts.setdefault(point.at.replace(second=0, microsecond=0), point)
    return [
        Quote(
            ticker=ticker,
            minute=minute,
            price=point.price,
            observed_at=point.at,
            source=source,
            origin=origin,
        )
        for minute, point in firsts.items()
        if minute + timedelta(minutes=1) <= until
    ]


def step(points: Sequence[Point]) -> timedelta | None:
    return min((later.at - earlier.at for earlier, later in pairwise(points)), default=None)


async def _keep(sessions: store.Sessions, quotes: Sequence[Quote], backfill: Backfill) -> int:
    kept = 0
    for start in range(0, len(quotes), CHUNK):
        chunk = quotes[start : start + CHUNK]
        kept += await sessions.transact(partial(store.keep, arrived=chunk))
    async with sessions.begin() as session:
        await history.finish(session, backfill)
    return kept


async def unfinished(ticker: str, sessions: store.Sessions) -> list[Range]:
    """The charts that were never kept whole for the ticker, the finest first."""
    async with sessions() as session:
        finished = {each.range for each in await history.finished(session, ticker)}
    return [span for span in Range if span not in finished]
