"""One minute's requests: for each ticker until it has answered, and none beyond the minute's end.

What hangs or fails comes after what has not been tried yet, so that no ticker waits for another's
trouble; and no single odd answer is believed that would end a ticker's minute.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from quotes.database.models import Origin, Quote
from quotes.market.sources import Cause, Priority, Retry, Source, SourceError, Tick
from workers.attempts import SLIP, EarlyError, Health, delay_after, is_early
from workers.exchange.clock import RIDDEN_OUT, ExchangeClock

MINUTE = timedelta(minutes=1)
BATCH = 1.0  # seconds in which what arrives is taken together
CLOCK_CHECK = 1.0  # seconds until the minute's end is looked up again, as its clock may be new


@dataclass(frozen=True, slots=True)
class Missed:
    """A ticker that has no quote for the minute yet."""

    ticker: str
    error: SourceError


Outcome = Quote | Missed


@dataclass(slots=True)
class _Minute:
    """What one run of `Poller.poll` shares among its tickers."""

    begin: datetime
    started_at: float  # by the loop's clock
    outcomes: asyncio.Queue[Outcome | None] = field(default_factory=asyncio.Queue)
    unheard: set[str] = field(default_factory=set)  # tickers without any outcome yet
    # Failures that are not believed yet, as another attempt may well succeed.
    doubted: dict[str, Missed] = field(default_factory=dict)


class Poller:
    """Polls a source for a minute's prices, and remembers which tickers do not answer."""

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
        """Yield the outcomes of all attempts for the minute, those of about a second together.

        Ends when each ticker has a quote or no attempt left, at the latest when the minute is over
        by the exchange's clock. Close it where it is left early.
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

    def is_resting(self, ticker: str) -> bool:
        """Whether the exchange did not know it, too short a while ago to ask again."""
        return self._health[ticker].rests_until > asyncio.get_running_loop().time()

    async def _poll(self, minute: _Minute, tickers: Sequence[str]) -> None:
        if self._left(minute) <= 0:
            return
        # Healthy ones first, then whoever has waited longest for another attempt.
        awake = [ticker for ticker in tickers if not self.is_resting(ticker)]
        awake.sort(key=lambda name: self._health[name].hangs and self._health[name].tried_at)
        minute.unheard.update(awake)
        stopped = asyncio.create_task(self._stopping.wait(), name="stop-polling")
        everyone = asyncio.gather(*(self._poll_ticker(minute, name) for name in awake))
        try:
            while not (everyone.done() or stopped.done()) and (left := self._left(minute)) > 0:
                await asyncio.wait(
                    (everyone, stopped),
                    timeout=min(left, CLOCK_CHECK),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            if everyone.done():
                everyone.result()  # raises what was no failure of the source
        finally:
            stopped.cancel()
            everyone.cancel()
            await asyncio.gather(everyone, stopped, return_exceptions=True)
        if not self.stopped:
            self._give_up(minute)

    def _left(self, minute: _Minute) -> float:
        """Seconds until the minute is over by the exchange's clock, or else since the start."""
        if self._clock.known:
            return self._clock.until(minute.begin + MINUTE)
        since = asyncio.get_running_loop().time() - minute.started_at
        return MINUTE.total_seconds() - since

    async def _poll_ticker(self, minute: _Minute, ticker: str) -> None:
        """Attempts until one succeeds, or until another could not help."""
        early = self._clock.until(minute.begin)
        delay: float | None = 0.0
        if self._clock.known and 0 < early <= RIDDEN_OUT.total_seconds():
            delay = early + SLIP
        attempt = 0
        believed = self._health[ticker].rest > timedelta()  # that the exchange does not know it
        while delay is not None and delay < self._left(minute):
            await asyncio.sleep(delay)
            attempt += 1
            error = await self._attempt(minute, ticker, attempt)
            if error is None:
                return
            final = error.retry is Retry.NEVER
            doubted = is_early(error) or (final and not believed)
            believed = final
            delay = delay_after(error, attempt, doubted=doubted)
            self._report(minute, Missed(ticker, error), doubted=doubted)

    async def _attempt(self, minute: _Minute, ticker: str, attempt: int) -> SourceError | None:
        """Why there is no quote of it; None where there is one."""
        health = self._health[ticker]
        health.tried_at = asyncio.get_running_loop().time()
        priority = Priority.LIVE if attempt == 1 else Priority.RETRY
        if health.hangs or health.rest:
            priority = Priority.PROBE
        try:
            tick = await self._source.tick(
                ticker, priority=priority, within=max(0.0, self._left(minute))
            )
        except SourceError as error:
            health.note(error.cause)
            return error
        health.note(None)
        self._clock.observe(tick.clock_ahead)
        try:
            quote = self._quote(minute.begin, tick)
        except SourceError as error:
            return error
        minute.unheard.discard(ticker)
        minute.doubted.pop(ticker, None)
        minute.outcomes.put_nowait(quote)
        return None

    def _report(self, minute: _Minute, missed: Missed, *, doubted: bool) -> None:
        minute.unheard.discard(missed.ticker)
        minute.doubted.pop(missed.ticker, None)
        if doubted:
            minute.doubted[missed.ticker] = missed
            return
        if missed.error.cause is Cause.UNKNOWN_INDEX:
            self._health[missed.ticker].leave_alone()
        minute.outcomes.put_nowait(missed)

    def _give_up(self, minute: _Minute) -> None:
        """Say of each ticker that is left why it has no quote."""
        for missed in minute.doubted.values():
            minute.outcomes.put_nowait(missed)
        for ticker in minute.unheard:
            message = f"{ticker}: the minute was over before it was requested, or answered."
            missed = Missed(ticker, SourceError(Cause.NOT_ASKED, message))
            minute.outcomes.put_nowait(missed)

    def _quote(self, begin: datetime, tick: Tick) -> Quote:
        """The exchange's own clock decides whether a price is this minute's, whatever ours says."""
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
            source=self._source.name,
            origin=Origin.LIVE,
        )

    def _outside(self, begin: datetime, tick: Tick) -> str:
        return (
            f"{tick.ticker}: the price is from {tick.observed_at:%Y-%m-%d %H:%M:%S} UTC by the "
            f"exchange's clock, which is outside the minute {begin:%Y-%m-%d %H:%M}. "
            f"{self._clock.words()}"
        )


async def _batches(outcomes: asyncio.Queue[Outcome | None]) -> AsyncIterator[list[Outcome]]:
    """What arrives within BATCH seconds of the first is one batch; None is the end."""
    ended = False
    while not ended and (first := await outcomes.get()) is not None:
        batch = [first]
        with suppress(TimeoutError):
            async with asyncio.timeout(BATCH):
                while (outcome := await outcomes.get()) is not None:
                    batch.append(outcome)
                ended = True
        yield batch
