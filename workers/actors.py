"""What the queue's messages do. Each is safe to run twice, and too old ones are dropped."""

import asyncio
from datetime import UTC, datetime

import dramatiq
from dramatiq.middleware import CurrentMessage
from periodiq import cron

from quotes.database.errors import DatabaseError
from quotes.market import tickers as names
from quotes.market.sources import MixedError
from workers import collecting, mending
from workers.broker import process, settings

# Ages, limits and backoffs are in milliseconds.


@dramatiq.actor(
    periodic=cron("* * * * *"), max_age=60_000, time_limit=15_000, max_retries=3, min_backoff=2_000
)
def tick() -> None:
    """The clock's message: turns into one that carries its minute."""
    message = CurrentMessage.get_current_message()
    assert message is not None
    scheduled = message.options.get("scheduled_at") or datetime.now(UTC).isoformat()
    collect.send(collecting.minute_of(scheduled).isoformat(), list(settings.tickers))


@dramatiq.actor(
    max_age=180_000,
    time_limit=150_000,
    max_retries=3,
    min_backoff=2_000,
    throws=(ValueError, DatabaseError),  # the second was waited for, and logged
)
async def collect(minute: str, tickers: list[str], attempt: int = 1) -> None:
    """Collect a minute, given as ISO 8601; whatever fails comes back in a message of its own.

    Raises ValueError, and is not retried, where the message makes no sense.
    """
    at = collecting.minute_of(minute)
    asked = [names.parse(ticker) for ticker in tickers]
    for missed in await collecting.collect(at, asked, process.source, process.sessions):
        delay = collecting.retry_delay(missed, at, attempt, datetime.now(UTC))
        if delay is not None:
            await asyncio.to_thread(  # a broker that is away must not hold up the others' loop
                collect.send_with_options,
                args=(minute, [missed.ticker], attempt + 1),
                delay=round(delay * 1000),
            )


@dramatiq.actor(
    periodic=cron("* * * * *"),
    max_age=60_000,
    time_limit=600_000,
    max_retries=0,
    throws=(DatabaseError, MixedError),  # `collect` meets the same, and says so
)
async def mend() -> None:
    """Fill what is missing. The next minute's message tries again; a long one is not run twice."""
    if not process.mending.locked():
        async with process.mending:
            now = datetime.now(UTC)
            await mending.mend(settings.tickers, process.source, process.sessions, now=now)
