"""Fetching history from the exchange's charts, and storing it as quotes."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

from quotes import metrics
from quotes.database import backfills
from quotes.database.log import store
from quotes.database.models import Backfill, Origin, Quote
from quotes.database.sessions import Sessions
from quotes.market import charts
from quotes.market.charts import PARTS
from quotes.market.sources import Cause, Chart, Point, Priority, Range, Source, SourceError

CHUNK = 5_000  # rows in a transaction; other writers wait for a fraction of a second
# Younger minutes are left to the collector, whose exact price is better than an average.
SETTLED = timedelta(minutes=3)
TURN = timedelta(minutes=1)  # for one request, including its wait for the rate limit
# How long a chart stays claimed by the worker that fetches it, even if that was killed.
CLAIM = 2 * TURN
FIRST_BACKOFF, LONGEST_BACKOFF = timedelta(minutes=1), timedelta(hours=1)
# After so many incomplete fetches, over about a day, a chart is all that the exchange has.
SHORT_ATTEMPTS = 30
_STORED = metrics.STORED.labels(Origin.BACKFILLED.value)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result of fetching one chart."""

    ticker: str
    span: Range
    points: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # points by their fault
    step: timedelta | None = None  # the smallest between two points
    stored: int = 0  # new quotes
    reason: str | None = None  # why the chart is not finished
    error: SourceError | None = None  # why there is no chart


async def request(
    ticker: str, span: Range, source: Source, *, now: datetime, priority: Priority
) -> Chart:
    """The chart, without unusable points. Raises SourceError if there is no chart."""
    try:
        async with asyncio.timeout(TURN.total_seconds()):
            chart = await source.index_chart(ticker, span, priority=priority)
    except TimeoutError as error:
        message = f"{ticker}: its chart was not received in time, after all live prices."
        raise SourceError(Cause.TIMEOUT, message) from error
    return charts.cleaned(chart, now)


async def backfill(  # noqa: PLR0913
    ticker: str,
    span: Range,
    source: Source,
    sessions: Sessions,
    *,
    now: datetime,
    until: datetime,
) -> Fetched:
    """Store a chart's points before `until` as BACKFILLED quotes, and record the result.

    Existing quotes are not changed, so fetch a finer chart before a coarser one. Idempotent, and
    safe to stop at any point. Raises errors.DatabaseError.
    """
    attempts = await _attempts(ticker, span, sessions)
    try:
        chart = await request(ticker, span, source, now=now, priority=Priority.BACKFILL)
    except SourceError as error:
        fetched = Fetched(ticker, span, reason=str(error), error=error)
        await _record(fetched, attempts, sessions, now)
        return fetched
    found = quotes_of(ticker, chart.points, source.name, Origin.BACKFILLED, until=until)
    stored, reason = await _store(sessions, found), charts.fault(chart)
    parts = PARTS if reason else charts.parts(chart, span, now)
    if parts < PARTS and attempts < SHORT_ATTEMPTS:
        reason = f"has points in {parts} of {PARTS} parts of its range only"
    points = len(chart.points)
    fetched = Fetched(ticker, span, points, chart.left_out, step(chart.points), stored, reason)
    await _record(fetched, attempts, sessions, now)
    return fetched


async def _attempts(ticker: str, span: Range, sessions: Sessions) -> int:
    async with sessions() as session:
        known = await backfills.of(session, [ticker])
    return next((each.attempts for each in known if each.range == span), 0)


async def _record(fetched: Fetched, attempts: int, sessions: Sessions, now: datetime) -> None:
    finished = fetched.reason is None
    chart = Backfill(
        ticker=fetched.ticker,
        range=fetched.span,
        added_at=now,
        finished_at=now if finished else None,
        due_at=now + backoff(attempts + 1),
        attempts=0 if finished else attempts + 1,
        left_out=fetched.left_out.total(),
        reason=fetched.reason,
    )
    await sessions.transact(partial(backfills.record, chart=chart))


def backoff(attempts: int) -> timedelta:
    """The delay after so many unsuccessful fetches of a chart."""
    return min(FIRST_BACKOFF * (1 << min(attempts - 1, 10)), LONGEST_BACKOFF)


def quotes_of(
    ticker: str, points: Sequence[Point], source: str, origin: Origin, *, until: datetime
) -> list[Quote]:
    """A quote for each minute that contains a point and is over by `until`.

    Of several points the first is used, which is nearest to when the minute would have been
    collected. A point counts for its own minute only, even if it averages an hour or a day.
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


async def _store(sessions: Sessions, quotes: Sequence[Quote]) -> int:
    stored = 0
    for start in range(0, len(quotes), CHUNK):
        chunk = quotes[start : start + CHUNK]
        new = await sessions.transact(partial(store.insert, quotes=chunk))
        _STORED.inc(new)
        stored += new
    return stored


async def unfinished(ticker: str, sessions: Sessions) -> list[Range]:
    """The ticker's charts that were never fetched completely, the finest first."""
    async with sessions() as session:
        known = await backfills.of(session, [ticker])
    finished = {each.range for each in known if each.finished_at}
    return [span for span in Range if span not in finished]
