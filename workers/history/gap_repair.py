"""Repairing missing minutes of the recent past from the exchange's charts."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes import metrics
from quotes.database import backfills, minutes
from quotes.database.log import store
from quotes.database.models import Backfill, Origin
from quotes.database.queries import history
from quotes.database.sessions import Sessions
from quotes.market.coverage import MINUTE, gaps, missing_minutes
from quotes.market.sources import Cause, Priority, Range, Source, SourceError
from workers.history import charts

log = structlog.get_logger()

AT_ONCE = 4  # requests; the limit of Priority.REPAIR in flight
REACH = timedelta(days=2)  # how far back the finer charts go
# For each chart: the ages of the missing minutes it is fetched for, and the shortest interval
# between fetches. The last hour's chart is the finest; coarser ones may hold what it lacks.
CHARTS = {
    Range.HOUR: (timedelta(), timedelta(hours=1), timedelta(minutes=5)),
    Range.DAY: (timedelta(hours=1), timedelta(days=1), timedelta(minutes=10)),
    Range.TWO_DAYS: (timedelta(days=1), REACH, timedelta(minutes=10)),
}
_STORED = metrics.STORED.labels(Origin.REPAIRED.value)
UNKNOWN_PAUSE = timedelta(hours=1)  # for an index that the exchange does not know


@dataclass(frozen=True, slots=True)
class Repair:
    """One chart that may hold some of a ticker's missing minutes."""

    chart: Backfill
    missing: frozenset[datetime]  # all of the ticker's
    newest: datetime  # of those that the chart is fetched for


async def repair(
    tickers: Sequence[str],
    source: Source,
    sessions: Sessions,
    *,
    now: datetime,
    seconds: float = 60,
) -> int:
    """Fill the gaps since each ticker was added, at most two days back; returns the minutes filled.

    The newest gaps come first. Starts no request after `seconds`. Called each minute, by any number
    of workers: each chart is fetched by one of them. Idempotent. Raises errors.DatabaseError.
    """
    due = iter(await _due(tickers, sessions, now))
    begun = asyncio.get_running_loop().time()

    async def run() -> int:
        stored = 0
        for each in _until(due, begun + seconds):
            stored += await _fetch(each, source, sessions, now)
        return stored

    runs = await asyncio.gather(*(run() for _ in range(AT_ONCE)), return_exceptions=True)
    for each in runs:
        if isinstance(each, BaseException):
            raise each
    return sum(each for each in runs if not isinstance(each, BaseException))


def _until(due: Iterator[Repair], end: float) -> Iterator[Repair]:
    for each in due:
        if asyncio.get_running_loop().time() >= end:
            return
        yield each


async def _due(tickers: Sequence[str], sessions: Sessions, now: datetime) -> list[Repair]:
    """The newest gaps first; among equally new ones, those tried least recently."""
    found: list[Repair] = []
    async with sessions() as session:
        by_ticker: dict[str, list[Backfill]] = {}
        for chart in await backfills.of(session, tickers):
            by_ticker.setdefault(chart.ticker, []).append(chart)
        for ticker, own in by_ticker.items():
            added_at = min(each.added_at for each in own)
            missing = frozenset(await _missing(session, ticker, added_at, now))
            found += [each for chart in own if (each := _repair(chart, missing, now))]
    never = datetime.min.replace(tzinfo=UTC)
    found.sort(key=lambda each: each.chart.repaired_at or never)
    return sorted(found, key=lambda each: each.newest, reverse=True)


def _repair(chart: Backfill, missing: frozenset[datetime], now: datetime) -> Repair | None:
    if chart.range not in CHARTS:
        return None
    youngest, oldest, every = CHARTS[Range(chart.range)]
    wanted = [minute for minute in missing if youngest < now - minute <= oldest]
    if not wanted:
        return None
    newest, last = max(wanted), chart.repaired_at
    # A minute that became missing after the last fetch does not wait for the interval.
    new = chart.range == Range.HOUR and last and last < newest + MINUTE + charts.SETTLED
    if last is None or (new and last <= now) or now - last >= every:
        return Repair(chart, missing, newest)
    return None


async def _missing(
    session: AsyncSession, ticker: str, added_at: datetime, now: datetime
) -> set[datetime]:
    since, until, reach = (
        moment.replace(second=0, microsecond=0)
        for moment in (added_at - charts.SETTLED, now - charts.SETTLED, now - REACH + MINUTE)
    )
    since = max(since, reach)
    if since >= until:
        return set()
    hours = await history.incomplete_hours(session, ticker, since, until)
    found = missing_minutes(gaps(hours, since, until))
    if found:  # an average over a halt is not a price of it
        found -= await minutes.halted(session, ticker, since, until)
    return found


async def _fetch(each: Repair, source: Source, sessions: Sessions, now: datetime) -> int:
    ticker, span = each.chart.ticker, Range(each.chart.range)
    if not await sessions.transact(partial(backfills.claim_repair, chart=each.chart, now=now)):
        return 0
    try:
        chart = await charts.request(ticker, span, source, now=now, priority=Priority.REPAIR)
    except SourceError as error:
        log.warning("chart_failed", ticker=ticker, range=span, purpose="repair", reason=str(error))
        if error.cause is Cause.UNKNOWN_INDEX:
            later = now + UNKNOWN_PAUSE
            await sessions.transact(partial(backfills.postpone, ticker=ticker, until=later))
        return 0
    found = charts.quotes_of(
        ticker, chart.points, source.name, Origin.REPAIRED, until=now - charts.SETTLED
    )
    wanted = [quote for quote in found if quote.minute in each.missing]
    stored = await sessions.transact(partial(store.insert, quotes=wanted))
    _STORED.inc(stored)
    left_out = chart.left_out.total()
    about = {"repaired": stored, "missing": len(each.missing) - stored, "left_out": left_out}
    if stored or left_out:
        log.info("minutes_repaired", ticker=ticker, range=span, **about)
    return stored
