"""Polling the source during one minute: each ticker until it succeeds or the minute is over.

Unresponsive and failing tickers come after those that were not tried yet, so that none is delayed
by another's failure; and an answer that would end a ticker's minute is confirmed by a second one.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from quotes.database.models import Origin, Quote
from quotes.market.sources import (
    MAX_COMPENSATED,
    Cause,
    Priority,
    Retry,
    Source,
    SourceError,
    Tick,
)
from workers.attempts import CLOCK_MARGIN, EarlyError, Health, delay_after, is_early
from workers.exchange.clock import ExchangeClock

MINUTE = timedelta(minutes=1)
BATCH = 1.0  # seconds; outcomes that arrive within them form one batch
CLOCK_CHECK = 1.0  # seconds between two checks of the minute's end, as the clock may be updated


@dataclass(frozen=True, slots=True)
class Missed:
    """A failed attempt of a ticker that has no quote for the minute yet."""

    ticker: str
    error: SourceError


Outcome = Quote | Missed


@dataclass(slots=True)
class _Minute:
    """What one run of `Poller.poll` shares among its tickers."""

    begin: datetime
    started_at: float  # by the loop's clock
    outcomes: asyncio.Queue[Outcome | None] = field(default_factory=asyncio.Queue)
    pending: set[str] = field(default_factory=set)  # tickers without any outcome yet
    # Failures that another attempt has to confirm.
    unconfirmed: dict[str, Missed] = field(default_factory=dict)


class Poller:
    """Polls a source for a minute's prices, and tracks which tickers are unresponsive."""

    def __init__(self, source: Source, clock: ExchangeClock) -> None:
        self._source = source
        self._clock = clock
        self._health: defaultdict[str, Health] = defaultdict(Health)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End every poll now, and every later one at once."""
        self._stopping.set()

    @property
    def stopped(self) -> bool:
        return self._stopping.is_set()

    async def poll(self, begin: datetime, tickers: Sequence[str]) -> AsyncGenerator[list[Outcome]]:
        """Yield the outcomes of all attempts for the minute, in batches of about a second.

        Ends when each ticker has a quote or no attempt left, at the latest when the minute is over
        by the exchange's clock. Close the generator if you leave it early.
        """
        minute = _Minute(begin, asyncio.get_running_loop().time())
        polling = asyncio.create_task(self._poll(minute, tickers), name=f"poll-{begin:%H:%M}")
        polling.add_done_callback(lambda _: minute.outcomes.put_nowait(None))
        try:
            async for batch in _batches(minute.outcomes):
                yield batch
            polling.result()
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    def is_suspended(self, ticker: str) -> bool:
        """Whether the exchange did not know it, too short a while ago to ask again."""
        return self._health[ticker].suspended_until > asyncio.get_running_loop().time()

    def resume(self, tickers: Iterable[str]) -> None:
        """Forget that the exchange did not know them, and how they did before."""
        for ticker in tickers:
            self._health.pop(ticker, None)

    async def _poll(self, minute: _Minute, tickers: Sequence[str]) -> None:
        if self._left(minute) <= 0:
            return
        # Healthy tickers first, then those whose last attempt is the oldest.
        active = [ticker for ticker in tickers if not self.is_suspended(ticker)]
        active.sort(key=lambda name: self._health[name].unresponsive_since)
        minute.pending.update(active)
        stopped = asyncio.create_task(self._stopping.wait(), name="stop-polling")
        everyone = asyncio.gather(*(self._poll_ticker(minute, name) for name in active))
        try:
            while not (everyone.done() or stopped.done()) and (left := self._left(minute)) > 0:
                await asyncio.wait(
                    (everyone, stopped),
                    timeout=min(left, CLOCK_CHECK),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            if everyone.done():
                everyone.result()  # raises any error that is not the source's
        finally:
            stopped.cancel()
            everyone.cancel()
            await asyncio.gather(everyone, stopped, return_exceptions=True)
        if not self.stopped:
            self._give_up(minute)

    def _left(self, minute: _Minute) -> float:
        """Seconds left of the minute by the exchange's clock, or since the start if unknown."""
        if self._clock.known:
            return self._clock.until(minute.begin + MINUTE)
        since = asyncio.get_running_loop().time() - minute.started_at
        return MINUTE.total_seconds() - since

    async def _poll_ticker(self, minute: _Minute, ticker: str) -> None:
        """Try until an attempt succeeds or another one cannot help."""
        early = self._clock.until(minute.begin)
        delay: float | None = 0.0
        if self._clock.known and 0 < early <= MAX_COMPENSATED.total_seconds():
            delay = early + CLOCK_MARGIN
        attempt = 0
        confirmed = self._health[ticker].suspension > timedelta()  # as unknown to the exchange
        while delay is not None and delay < self._left(minute):
            await asyncio.sleep(delay)
            attempt += 1
            error = await self._attempt(minute, ticker, attempt)
            if error is None:
                return
            final = error.retry is Retry.NEVER
            unconfirmed = is_early(error) or (final and not confirmed)
            confirmed = final
            delay = delay_after(error, attempt, unconfirmed=unconfirmed)
            self._report(minute, Missed(ticker, error), unconfirmed=unconfirmed)

    async def _attempt(self, minute: _Minute, ticker: str, attempt: int) -> SourceError | None:
        """The error if the attempt failed, else None."""
        health = self._health[ticker]
        health.tried_at = asyncio.get_running_loop().time()
        priority = Priority.LIVE if attempt == 1 else Priority.RETRY
        if health.unresponsive or health.suspension:
            priority = Priority.PROBE
        try:
            tick = await self._source.tick(
                ticker, minute.begin, priority=priority, within=max(0.0, self._left(minute))
            )
        except SourceError as error:
            health.record(error.cause)
            return error
        health.record(None)
        self._clock.observe(tick.clock_ahead)
        try:
            quote = self._quote(minute.begin, tick)
        except SourceError as error:
            return error
        minute.pending.discard(ticker)
        minute.unconfirmed.pop(ticker, None)
        minute.outcomes.put_nowait(quote)
        return None

    def _report(self, minute: _Minute, missed: Missed, *, unconfirmed: bool) -> None:
        minute.pending.discard(missed.ticker)
        minute.unconfirmed.pop(missed.ticker, None)
        if unconfirmed:
            minute.unconfirmed[missed.ticker] = missed
            return
        if missed.error.cause is Cause.UNKNOWN_INDEX:
            self._health[missed.ticker].suspend()
        minute.outcomes.put_nowait(missed)

    def _give_up(self, minute: _Minute) -> None:
        """Report each remaining ticker as missed, with the cause."""
        for missed in minute.unconfirmed.values():
            minute.outcomes.put_nowait(missed)
        for ticker in minute.pending:
            message = f"{ticker}: the minute was over before it was requested, or answered."
            missed = Missed(ticker, SourceError(Cause.NOT_ASKED, message))
            minute.outcomes.put_nowait(missed)

    def _quote(self, begin: datetime, tick: Tick) -> Quote:
        """The exchange's clock decides which minute a price belongs to, not this host's."""
        early = begin - tick.observed_at
        if early > timedelta():
            raise EarlyError(self._outside(begin, tick), early)
        if tick.observed_at >= begin + MINUTE:
            raise SourceError(Cause.OUTSIDE_MINUTE, self._outside(begin, tick), retry=Retry.NEVER)
        return Quote(
            ticker=tick.ticker,
            minute=begin,
            price=tick.price,
            observed_at=tick.observed_at,
            exact_time=tick.exact_time,
            source=self._source.name,
            origin=Origin.LIVE,
        )

    def _outside(self, begin: datetime, tick: Tick) -> str:
        return (
            f"{tick.ticker}: the price is from {tick.observed_at:%Y-%m-%d %H:%M:%S} UTC by the "
            f"exchange's clock, which is outside the minute {begin:%Y-%m-%d %H:%M}. "
            f"{self._clock.describe()}"
        )


async def _batches(outcomes: asyncio.Queue[Outcome | None]) -> AsyncIterator[list[Outcome]]:
    """Outcomes that arrive within BATCH seconds of the first form a batch; None ends them."""
    ended = False
    while not ended and (first := await outcomes.get()) is not None:
        batch = [first]
        with suppress(TimeoutError):
            async with asyncio.timeout(BATCH):
                while (outcome := await outcomes.get()) is not None:
                    batch.append(outcome)
                ended = True
        yield batch
