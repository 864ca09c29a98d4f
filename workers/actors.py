"""The actors. Each is idempotent, and messages that are too old are dropped."""

import asyncio
from datetime import UTC, datetime
from functools import partial

import dramatiq
from dramatiq.middleware import CurrentMessage
from periodiq import cron

from quotes import queue
from quotes.database.errors import DatabaseError
from quotes.database.log import store
from quotes.database.sessions import Sessions, open_engine
from quotes.market import tickers as names
from quotes.market.sources import MixedError
from quotes.settings import SettingsError
from workers import collecting
from workers.broker import TICK_AGE, process
from workers.history import compaction, gap_filling, retention

# Ages, limits and backoffs are in milliseconds.


# A queue and a consumer of its own, and the highest priority for a thread: the next minute starts
# on time whatever else there is to do.
@dramatiq.actor(
    queue_name=queue.TICKS,
    priority=0,
    periodic=cron("* * * * *"),
    max_age=TICK_AGE * 1_000,
    time_limit=15_000,
    max_retries=3,
    min_backoff=2_000,
)
def tick() -> None:
    """Sent by the scheduler; sends a `collect` message that carries the minute."""
    message = CurrentMessage.get_current_message()
    assert message is not None
    scheduled = message.options.get("scheduled_at") or datetime.now(UTC).isoformat()
    if tickers := process.collected.in_order:
        collect.send(collecting.minute_of(scheduled).isoformat(), list(tickers))


@dramatiq.actor(
    queue_name=queue.WORK,
    priority=1,
    max_age=180_000,
    time_limit=180_000,
    max_retries=3,
    min_backoff=2_000,
    throws=(ValueError, DatabaseError, SettingsError),  # the last two are logged elsewhere
)
async def collect(minute: str, tickers: list[str]) -> None:
    """Collect a minute, given as ISO 8601; a worker that is stopping requeues what is missing.

    Raises ValueError, and is not retried, if the message is invalid.
    """
    begin = collecting.minute_of(minute)
    requested = [names.parse(ticker) for ticker in tickers]
    if missing := await process.collector.collect(begin, requested):
        await asyncio.to_thread(  # a broker that does not answer must not block the event loop
            collect.send_with_options,
            args=(minute, missing),
            delay=1_000,  # else another thread of this stopping worker would take it
        )


@dramatiq.actor(
    queue_name=queue.WORK,
    priority=3,
    periodic=cron("10 2 * * *"),
    max_age=3_600_000,
    time_limit=60_000,
    max_retries=3,
    throws=(DatabaseError, SettingsError),
)
async def prepare_month() -> None:
    """So that the first quotes of a month find its partition; else they make it themselves."""
    await process.sessions.transact(partial(store.prepare, now=datetime.now(UTC)))


@dramatiq.actor(
    queue_name=queue.WORK,
    priority=3,
    periodic=cron("30 * * * *"),  # not at night alone, when a laptop is off
    max_age=3_600_000,
    time_limit=600_000,
    max_retries=3,
    throws=(DatabaseError, SettingsError),
)
async def retire() -> None:
    """Remove what is no longer kept."""
    now = datetime.now(UTC)
    await retention.remove_failures(process.sessions, now=now)
    if process.settings.keep_months is not None:
        await retention.retire(process.sessions, process.settings.keep_months, now=now)


@dramatiq.actor(
    queue_name=queue.WORK,
    priority=3,
    periodic=cron("50 * * * *"),
    max_age=3_600_000,
    time_limit=6 * 3_600_000,  # the past of years, which a release before left as one partition
    max_retries=0,  # but each hour
    throws=(DatabaseError, SettingsError),
)
async def compact() -> None:
    """Rewrite the months that are over in the order in which they are read."""
    url, limit = process.settings.require_database_url(), compaction.STATEMENT_TIMEOUT
    async with open_engine(url, name="compaction", size=1, statement_timeout=limit) as engine:
        await compaction.compact(Sessions(engine), now=datetime.now(UTC))


@dramatiq.actor(
    queue_name=queue.WORK,
    priority=2,
    periodic=cron("* * * * *"),
    max_age=60_000,
    time_limit=200_000,
    max_retries=0,
    throws=(DatabaseError, MixedError, SettingsError),  # `collect` logs the same ones
)
async def fill_gaps() -> None:
    """Repair and backfill for most of a minute; one run at a time in each process."""
    if not process.filling_gaps.locked():
        async with process.filling_gaps:
            now = datetime.now(UTC)
            await gap_filling.fill_gaps(
                process.collected.in_order, process.source, process.sessions, now=now
            )
