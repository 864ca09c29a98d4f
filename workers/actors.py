"""What the queue's messages do. Each is safe to run twice, and too old ones are dropped."""

import asyncio
from datetime import UTC, datetime

import dramatiq
from dramatiq.middleware import CurrentMessage
from periodiq import cron

from quotes.database.errors import DatabaseError
from quotes.market import tickers as names
from quotes.market.sources import MixedError
from workers import collecting, gap_filling
from workers.broker import TICK_AGE, process, settings

# Ages, limits and backoffs are in milliseconds.


# A queue and a consumer of its own, and the first place among what waits for a thread: whatever
# else there is to do, the next minute begins on time.
@dramatiq.actor(
    queue_name="ticks",
    priority=0,
    periodic=cron("* * * * *"),
    max_age=TICK_AGE * 1_000,
    time_limit=15_000,
    max_retries=3,
    min_backoff=2_000,
)
def tick() -> None:
    """The scheduler's message: turns into one that carries its minute."""
    message = CurrentMessage.get_current_message()
    assert message is not None
    scheduled = message.options.get("scheduled_at") or datetime.now(UTC).isoformat()
    collect.send(collecting.minute_of(scheduled).isoformat(), list(settings.tickers))


@dramatiq.actor(
    priority=1,
    max_age=180_000,
    time_limit=180_000,
    max_retries=3,
    min_backoff=2_000,
    throws=(ValueError, DatabaseError),  # the second was waited for, and logged
)
async def collect(minute: str, tickers: list[str]) -> None:
    """Collect a minute, given as ISO 8601; a worker that is stopped passes on what is missing.

    Raises ValueError, and is not retried, where the message makes no sense.
    """
    begin = collecting.minute_of(minute)
    wanted = [names.parse(ticker) for ticker in tickers]
    if missing := await process.collector.collect(begin, wanted):
        await asyncio.to_thread(  # a broker that does not answer must not hold up the others' loop
            collect.send_with_options,
            args=(minute, missing),
            delay=1_000,  # else a thread of this worker, not stopped yet, would take it again
        )


@dramatiq.actor(
    priority=2,
    periodic=cron("* * * * *"),
    max_age=60_000,
    time_limit=200_000,
    max_retries=0,
    throws=(DatabaseError, MixedError),  # `collect` meets the same, and says so
)
async def fill_gaps() -> None:
    """Repair and backfill for most of a minute. A process runs one at a time."""
    if not process.filling_gaps.locked():
        async with process.filling_gaps:
            now = datetime.now(UTC)
            await gap_filling.fill_gaps(settings.tickers, process.source, process.sessions, now=now)
