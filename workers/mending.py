"""Each minute's look at what is missing: the recent past first, then history never fetched."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from quotes.database import store
from quotes.market.sources import Source
from workers.backfilling import Filled, backfill, unfinished
from workers.repairing import repair

log = structlog.get_logger()


async def mend(
    tickers: Sequence[str], source: Source, sessions: store.Sessions, *, now: datetime
) -> None:
    """Repair and backfill the tickers, one request at a time, so that live prices come first.

    Safe to stop anywhere and to repeat. Raises of errors.DatabaseError.
    """
    for ticker in tickers:
        await repair(ticker, source, sessions, now=now)
    for ticker in tickers:
        spans = await unfinished(ticker, sessions)
        async for filled in backfill(ticker, spans, source, sessions, now=now):
            _tell(filled)


def _tell(filled: Filled) -> None:
    about = {"ticker": filled.ticker, "range": filled.span.value}
    if filled.error is not None:
        log.warning("chart_missed", **about, reason=str(filled.error))
        return
    step = None if filled.step is None else filled.step.total_seconds()
    log.info("chart_kept", **about, points=filled.points, step_seconds=step, kept=filled.kept)
