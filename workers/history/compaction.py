"""What is done every hour so that history takes little room."""

import asyncio
import time
from datetime import datetime

import structlog

from quotes.database.errors import BusyError, translated
from quotes.database.log import compaction
from quotes.database.log.compaction import ChangedError, Copy
from quotes.database.sessions import Sessions

log = structlog.get_logger()

STATEMENT_TIMEOUT = 3_600.0  # seconds; a statement reads or writes a whole partition
ATTEMPTS, PAUSE = 60, 2.0  # at replacing a partition that is in use, and seconds between them


async def compact(sessions: Sessions, *, now: datetime) -> None:
    """Rewrite the partitions that are over and not compacted, one after the other.

    Idempotent, and safe to stop at any point. Any number of workers may do so concurrently: one of
    them does. `sessions` have to allow for statements of minutes. Raises errors.DatabaseError.
    """
    async with sessions() as session:
        due = await compaction.due(session, now)
    for name in due:
        began = time.monotonic()
        try:
            copy = await _compact(sessions, name)
        except (BusyError, ChangedError) as error:
            log.warning("partition_not_compacted", partition=name, reason=str(error))
            return  # what holds this one holds the others, too
        if copy is not None:
            log.info(
                "partition_compacted",
                partition=name,
                seconds=round(time.monotonic() - began, 1),
                quotes=copy.count,
                bytes_before=copy.bytes_before,
                bytes_after=copy.bytes_after,
            )


async def _compact(sessions: Sessions, name: str) -> Copy | None:
    async with sessions.begin() as session:
        copy = await compaction.fill(session, name)
        if copy is None:
            return None
        for attempt in range(1, ATTEMPTS + 1):
            copy = await compaction.catch_up(session, copy)  # the less is left for the lock
            try:
                with translated():
                    async with session.begin_nested():
                        copy = await compaction.swap(session, copy)
            except BusyError:
                if attempt == ATTEMPTS:
                    raise
                await asyncio.sleep(PAUSE)
            else:
                break
        return copy
