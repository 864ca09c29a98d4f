"""Missing minutes of the recent past, filled with what the exchange's charts still hold."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from quotes.database import history, store
from quotes.database.models import Origin
from quotes.market.coverage import MINUTE, holes, minutes
from quotes.market.sources import Range, Source, SourceError
from workers import backfilling

log = structlog.get_logger()

REACH = timedelta(days=2)  # how far back the finer charts go
# How far back each chart fills minutes, and how often it is asked while some are missing. The last
# hour's is the finest; what it does not hold, the others may, but hardly more so a minute later.
CHARTS = (
    (Range.HOUR, timedelta(hours=1), timedelta(minutes=1)),
    (Range.DAY, timedelta(days=1), timedelta(minutes=10)),
    (Range.TWO_DAYS, REACH, timedelta(minutes=10)),
)


async def repair(ticker: str, source: Source, sessions: store.Sessions, *, now: datetime) -> int:
    """Fill what was missed since the ticker's backfill, at most two days ago; how many minutes.

    To be called each minute. Safe to repeat. Raises of errors.DatabaseError.
    """
    missing = await _missing(ticker, sessions, now)
    found = 0
    for span in _charts(missing, now):
        try:
            points = await source.index_chart(ticker, span)
        except SourceError as error:
            log.warning("chart_missed", ticker=ticker, range=span.value, reason=str(error))
            break
        told = backfilling.quotes_of(
            ticker, points, source.name, Origin.REPAIRED, until=now - backfilling.SETTLED
        )
        wanted = [quote for quote in told if quote.minute in missing]
        if wanted:
            found += await sessions.transact(partial(store.keep, arrived=wanted))
            missing -= {quote.minute for quote in wanted}
    if found:
        log.info("minutes_repaired", ticker=ticker, repaired=found, missing=len(missing))
    return found


async def _missing(ticker: str, sessions: store.Sessions, now: datetime) -> set[datetime]:
    until = (now - backfilling.SETTLED).replace(second=0, microsecond=0)
    async with sessions() as session:
        finished = await history.finished(session, ticker)
        if not finished:
            return set()  # the backfill comes first, and fills more
        begin = min(each.finished_at for each in finished) - backfilling.SETTLED - MINUTE
        since = max(begin, now - REACH).replace(second=0, microsecond=0) + MINUTE
        if since >= until:
            return set()
        hours = await history.holed(session, ticker, since, until)
        return minutes(holes(hours, since, until))


def _charts(missing: set[datetime], now: datetime) -> Sequence[Range]:
    """Those that may hold some of the missing minutes and have their turn, the finest first."""
    past = (now - now.replace(hour=0, minute=0)) // MINUTE
    newest = timedelta()
    asked = []
    for span, reach, every in CHARTS:
        of_its_age = any(newest < now - minute <= reach for minute in missing)
        if of_its_age and not past % (every // MINUTE):
            asked.append(span)
        newest = reach
    return asked
