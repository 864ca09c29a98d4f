"""What is done every hour so that tables do not grow for ever."""

import asyncio
from datetime import datetime, timedelta
from functools import partial

import structlog

from quotes.database.errors import BusyError
from quotes.database.log import retention
from quotes.database.sessions import Sessions

log = structlog.get_logger()

ATTEMPTS, PAUSE = 60, 2.0  # at dropping a partition that is in use, and seconds between them
FAILURES_AGE, MOST_FAILURES = timedelta(days=400), 1_000_000  # that are kept
CHUNK = 10_000  # rows in a transaction


async def retire(sessions: Sessions, months: int, *, now: datetime) -> None:
    """Drop the partitions of minutes that are more than so many months old.

    Idempotent, and safe to stop at any point. Raises errors.DatabaseError.
    """
    async with sessions() as session:
        expired = await retention.expired(session, retention.first_kept(now, months))
    for name in expired:
        if not await _retire(sessions, name):
            log.warning("partition_in_use", partition=name, attempts=ATTEMPTS)
            return  # the older ones go first
        log.info("partition_dropped", partition=name)
    if expired:
        await _remove_runs(sessions)


async def _remove_runs(sessions: Sessions) -> None:
    chunk = partial(retention.remove_runs, chunk=CHUNK)
    while await sessions.transact(chunk):
        pass


async def _retire(sessions: Sessions, name: str) -> bool:
    for _ in range(ATTEMPTS):
        try:
            await sessions.transact(partial(retention.retire, name=name))
        except BusyError:
            await asyncio.sleep(PAUSE)
        else:
            return True
    return False


async def remove_failures(sessions: Sessions, *, now: datetime) -> int:
    """Delete the oldest failures, in chunks; how many. Raises errors.DatabaseError."""
    chunk = partial(
        retention.remove_failures, before=now - FAILURES_AGE, most=MOST_FAILURES, chunk=CHUNK
    )
    removed = 0
    while number := await sessions.transact(chunk):
        removed += number
    if removed:
        log.info("failures_removed", count=removed)
    return removed
