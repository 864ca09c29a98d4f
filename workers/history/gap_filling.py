"""Filling gaps each minute: repairs of the recent past first, then the backfill of history."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from quotes.database import backfills
from quotes.database.sessions import Sessions
from quotes.market.sources import Cause, Source
from workers.history import charts, gap_repair

log = structlog.get_logger()

# If there is more to repair than fits in a minute, repair gets the first part of it, and backfill
# the rest.
REPAIR_SECONDS, SECONDS = 25.0, 50.0


async def fill_gaps(
    tickers: Sequence[str],
    source: Source,
    sessions: Sessions,
    *,
    now: datetime,
    seconds: float = SECONDS,
) -> None:
    """Repair and backfill the tickers for `seconds`; a chart that was begun by then is finished.

    Any number of workers may do so concurrently: each chart is fetched by one of them. Idempotent,
    and safe to stop at any point. Raises errors.DatabaseError.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await sessions.transact(partial(backfills.add, tickers=tickers, now=now))
    repair_seconds = min(REPAIR_SECONDS, seconds)
    await gap_repair.repair(tickers, source, sessions, now=now, seconds=repair_seconds)
    while (elapsed := loop.time() - begun) < seconds:
        if not await backfill_next(tickers, source, sessions, now=now + timedelta(seconds=elapsed)):
            break


async def backfill_next(
    tickers: Sequence[str], source: Source, sessions: Sessions, *, now: datetime
) -> charts.Fetched | None:
    """Fetch the next chart that is due and not claimed by another worker; None if there is none."""
    until = now + charts.CLAIM
    claimed = await sessions.transact(
        partial(backfills.claim, tickers=tickers, now=now, until=until)
    )
    if claimed is None:
        return None
    ticker, span, added_at = claimed
    # Minutes missed since then are repaired, and reach subscribers.
    until = min(added_at, now) - charts.SETTLED
    fetched = await charts.backfill(ticker, span, source, sessions, now=now, until=until)
    _log(fetched)
    if fetched.error and fetched.error.cause is Cause.UNKNOWN_INDEX:
        later = now + gap_repair.UNKNOWN_PAUSE
        await sessions.transact(partial(backfills.postpone, ticker=ticker, until=later))
    return fetched


def _log(fetched: charts.Fetched) -> None:
    about: dict[str, object] = {"ticker": fetched.ticker, "range": fetched.span.value}
    if fetched.error:
        log.warning("chart_failed", **about, purpose="backfill", reason=fetched.reason)
        return
    step = None if fetched.step is None else fetched.step.total_seconds()
    about |= {"points": fetched.points, "step_seconds": step, "stored": fetched.stored}
    if fetched.left_out:
        about["left_out"] = dict(fetched.left_out)
    if fetched.reason:
        log.warning("chart_unfinished", **about, reason=fetched.reason)
    else:
        log.info("chart_stored", **about)
