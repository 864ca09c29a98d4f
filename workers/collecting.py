"""One minute's collection: fetch side by side, keep what has arrived, say what is missing."""

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database import store
from quotes.database.errors import DatabaseError, RejectedError, UnavailableError
from quotes.database.models import Failure, Origin, Quote
from quotes.database.outages import Outage
from quotes.market.sources import Cause, MixedError, Retry, Source, SourceError, Tick

log = structlog.get_logger()

MINUTE = timedelta(minutes=1)
AT_ONCE = 4  # requests side by side; the exchange asks for no more than 4 or 5
PATIENCE = 1.0  # seconds that what has arrived waits for the rest
TURN_TIMEOUT = 45.0  # seconds for a ticker's turn and its fetch: its minute is over soon after
KEEP_TIMEOUT = 45.0  # seconds that arrived prices wait for a database that is away
KEEP_RETRY = 0.5  # seconds between two attempts to keep
EARLY = timedelta(seconds=5)  # how far the exchange's clock may be behind the one that fired
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0  # seconds between attempts, doubling


@dataclass(frozen=True, slots=True)
class Missed:
    """A ticker that has no quote for the minute yet."""

    ticker: str
    error: SourceError


async def collect(
    minute: datetime, tickers: Sequence[str], source: Source, sessions: store.Sessions
) -> list[Missed]:
    """Keep a quote of each ticker for `minute`, and return those that failed.

    What arrives within a second of the first is kept in one transaction; what is slower, in one
    of its own. Safe to repeat. Raises of errors.DatabaseError where a database stayed away, and at
    once where it refuses.
    """
    began = time.monotonic()
    turns = asyncio.Semaphore(AT_ONCE)
    pending = {
        asyncio.create_task(_fetch(minute, ticker, source, turns), name=f"fetch-{ticker}")
        for ticker in tickers
    }
    kept, missed = 0, list[Missed]()
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if pending:
                more, pending = await asyncio.wait(pending, timeout=PATIENCE)
                done |= more
            arrived = [task.result() for task in done]
            quotes = [each for each in arrived if isinstance(each, Quote)]
            failed = [each for each in arrived if isinstance(each, Missed)]
            kept += await _keep(sessions, minute, quotes, failed)
            missed += failed
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    log.info(
        "minute_collected",
        minute=minute.isoformat(),
        asked=len(tickers),
        kept=kept,
        missed={each.ticker: each.error.cause.value for each in missed},
        seconds=round(time.monotonic() - began, 3),
    )
    return missed


async def _fetch(
    minute: datetime, ticker: str, source: Source, turns: asyncio.Semaphore
) -> Quote | Missed:
    try:
        async with asyncio.timeout(TURN_TIMEOUT), turns:
            tick = await source.tick(ticker)
        return _quote(minute, tick, source.name)
    except SourceError as error:
        return Missed(ticker, error)
    except TimeoutError:
        late = f"No turn to ask for {ticker} came within {TURN_TIMEOUT:.0f} seconds."
        return Missed(ticker, SourceError(Cause.TIMEOUT, late))


def _quote(minute: datetime, tick: Tick, source: str) -> Quote:
    """The exchange's own clock decides whether a price is this minute's, whatever ours says."""
    if not minute - EARLY <= tick.observed_at < minute + MINUTE:
        raise SourceError(
            Cause.OUTSIDE_MINUTE,
            f"The price of {tick.ticker} is from {tick.observed_at:%Y-%m-%d %H:%M:%S} UTC by the "
            f"exchange's clock, which is outside the minute {minute:%Y-%m-%d %H:%M}.",
            retry=Retry.NEVER,
        )
    return Quote(
        ticker=tick.ticker,
        minute=minute,
        price=tick.price,
        observed_at=tick.observed_at,
        source=source,
        origin=Origin.LIVE,
    )


async def _keep(
    sessions: store.Sessions, minute: datetime, quotes: list[Quote], missed: Iterable[Missed]
) -> int:
    failures = [_failure(minute, each) for each in missed]
    deadline = time.monotonic() + KEEP_TIMEOUT
    outage = Outage("keep")
    error: DatabaseError

    async def write(session: AsyncSession) -> int:
        for failure in failures:
            await store.record_failure(session, failure)
        return await store.keep(session, quotes)

    while True:
        try:
            async with asyncio.timeout(KEEP_TIMEOUT):
                return await sessions.transact(write)
        except MixedError as mixed:
            log.error("quotes_refused", minute=minute.isoformat(), reason=str(mixed))  # noqa: TRY400  # no fault of the code
            return 0
        except TimeoutError:
            error = UnavailableError(f"no answer within {KEEP_TIMEOUT:.0f} seconds")
        except DatabaseError as met:
            error = met
        if isinstance(error, RejectedError) or time.monotonic() > deadline:
            prices = {quote.ticker: str(quote.price) for quote in quotes}
            log.error(
                "quotes_not_kept", minute=minute.isoformat(), prices=prices, reason=str(error)
            )
            raise error
        outage.met(error)
        await asyncio.sleep(KEEP_RETRY)


def _failure(minute: datetime, missed: Missed) -> Failure:
    return Failure(
        ticker=missed.ticker,
        minute=minute,
        cause=missed.error.cause.value,
        message=str(missed.error),
        failed_at=datetime.now(UTC),
        attempts=1,
    )


def retry_delay(missed: Missed, minute: datetime, attempt: int, now: datetime) -> float | None:
    """Seconds until the ticker is asked again after its `attempt`-th failure; None for not at all.

    Never where that cannot help, and never beyond the minute's end.
    """
    match missed.error.retry:
        case Retry.NEVER:
            return None
        case Retry.SLOWLY:
            delay = LONGEST_DELAY
        case Retry.SOON:
            # Jitter, so that tickers that failed together do not come back together.
            jitter = random.uniform(0.75, 1.25)  # noqa: S311  # no secret
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempt - 1)) * jitter
    return delay if now + timedelta(seconds=delay) < minute + MINUTE else None


def minute_of(text: str) -> datetime:
    """The whole UTC minute that the moment is in. Raises ValueError for one without a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC).replace(second=0, microsecond=0)
