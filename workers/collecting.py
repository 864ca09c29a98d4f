"""Collecting one minute: fetches the missing quotes, and records why some stay missing."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes import metrics
from quotes.database import minutes
from quotes.database.errors import DatabaseError, RejectedError, UnavailableError
from quotes.database.log import store
from quotes.database.models import Failure, Origin, Quote
from quotes.database.outages import Outage
from quotes.database.sessions import Sessions
from quotes.market.sources import HALTS, Cause, MixedError, Source
from workers.conditions import Affected, Condition
from workers.exchange.clock import ExchangeClock
from workers.polling import Missed, Outcome, Poller

log = structlog.get_logger(__name__)

LOOKUP_TIMEOUT = 2.0  # seconds to query what is stored; live prices wait no longer
STORE_TIMEOUT = 45.0  # seconds to retry storing received prices while the database is unavailable
STORE_RETRY = 0.5  # seconds between two attempts to store

# Shown as zero from the start, so that the first failure is an increase.
_FAILURES = {cause: metrics.FAILURES.labels(cause.value) for cause in Cause}
_STORED = metrics.STORED.labels(Origin.LIVE.value)


class Collector:
    """Collects minutes from a source into the store; one for a process."""

    def __init__(
        self, source: Source, sessions: Sessions, clock: ExchangeClock | None = None
    ) -> None:
        self._poller = Poller(source, clock or ExchangeClock())
        self._sessions = sessions
        self._outage = Outage("collect")
        self._rejection = Condition(log, "quotes_refused")
        self._lasting = {
            cause: Affected(log, "tickers_halted", "tickers", cause=cause.value)
            for cause in (*sorted(HALTS), Cause.UNKNOWN_INDEX)
        }

    def stop(self) -> None:
        """Stop the current `collect`, which returns the tickers still missing."""
        self._poller.stop()

    def resume(self, tickers: Iterable[str]) -> None:
        """Request these again, whatever the exchange did not know before."""
        self._poller.resume(tickers)

    async def collect(self, begin: datetime, tickers: Sequence[str]) -> list[str]:
        """Store a quote of each ticker for the minute that starts at `begin`, until it is over.

        Prices that arrive within a second are stored in one transaction. A ticker that already has
        its quote is not requested, so this is safe to repeat. Returns the tickers that are missing
        because of `stop`. Raises errors.DatabaseError if the database stays unavailable for
        STORE_TIMEOUT, or at once if it rejects the quotes.
        """
        began = time.monotonic()
        missing = await self._missing(begin, tickers)
        failed, priced, stored = dict[str, Missed](), set[str](), 0
        async with aclosing(self._poller.poll(begin, missing)) as outcomes:
            async for batch in outcomes:
                stored += await self._store(begin, batch)
                failed |= {each.ticker: each for each in batch if isinstance(each, Missed)}
                priced.update(quote.ticker for quote in _quotes(batch))
        for ticker in priced:
            failed.pop(ticker, None)
        seconds = time.monotonic() - began
        metrics.COLLECTION.observe(seconds)
        for each in failed.values():
            _FAILURES[each.error.cause].inc()
        self._log_halts(failed, priced)
        missed = [each for each in failed.values() if each.error.cause not in self._lasting]
        log.info(
            "minute_collected",
            minute=begin.isoformat(),
            requested=len(missing),
            stored=stored,
            missed={each.ticker: each.error.cause.value for each in missed},
            reasons=_reasons(missed),
            halted=len(failed) - len(missed),
            unknown=sum(map(self._poller.is_suspended, missing)),
            seconds=round(seconds, 3),
        )
        return await self._missing(begin, missing) if self._poller.stopped else []

    def _log_halts(self, failed: Mapping[str, Missed], priced: Collection[str]) -> None:
        """What may last for hours, or for ever, is logged when it begins and when it ends."""
        for cause, state in self._lasting.items():
            now = {ticker for ticker, each in failed.items() if each.error.cause is cause}
            state.begin(now)
            state.end({*priced, *failed} - now)

    async def _missing(self, begin: datetime, tickers: Sequence[str]) -> list[str]:
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT), self._sessions() as session:
                return await minutes.missing(session, begin, tickers)
        except (DatabaseError, TimeoutError) as error:
            self._outage.failed(error)
            return list(tickers)

    async def _store(self, begin: datetime, batch: list[Outcome]) -> int:
        """The number of new quotes. Raises errors.DatabaseError after STORE_TIMEOUT."""
        failures = [_failure(begin, each) for each in batch if isinstance(each, Missed)]
        deadline = time.monotonic() + STORE_TIMEOUT
        error: DatabaseError

        async def write(session: AsyncSession) -> int:
            stored = await store.insert(session, _quotes(batch))
            await minutes.record_failures(session, failures)
            return stored

        while True:
            try:
                async with asyncio.timeout(STORE_TIMEOUT):
                    stored = await self._sessions.transact(write)
            except MixedError as mixed:
                self._rejection.persists(reason=str(mixed))
                return 0
            except TimeoutError:
                error = UnavailableError(f"no answer within {STORE_TIMEOUT:.0f} seconds")
            except DatabaseError as raised:
                error = raised
            else:
                self._outage.recovered()
                self._rejection.ended()
                _STORED.inc(stored)
                return stored
            if isinstance(error, RejectedError) or time.monotonic() > deadline:
                prices = {quote.ticker: str(quote.price) for quote in _quotes(batch)}
                reason = str(error)
                log.error(
                    "quotes_not_stored", minute=begin.isoformat(), prices=prices, reason=reason
                )
                raise error
            self._outage.failed(error)
            await asyncio.sleep(STORE_RETRY)


def _quotes(batch: Iterable[Outcome]) -> list[Quote]:
    return [each for each in batch if isinstance(each, Quote)]


def _failure(begin: datetime, missed: Missed) -> Failure:
    return Failure(
        ticker=missed.ticker,
        minute=begin,
        cause=missed.error.cause.value,
        message=str(missed.error),
        failed_at=datetime.now(UTC),
        attempts=1,
    )


def _reasons(failed: Iterable[Missed]) -> dict[str, str]:
    """One example of each cause, with the details that are for the operator only."""
    return {each.error.cause.value: f"{each.error} {each.error.detail}".strip() for each in failed}


def minute_of(text: str) -> datetime:
    """The UTC minute that contains the moment. Raises ValueError if it has no time zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC).replace(second=0, microsecond=0)
