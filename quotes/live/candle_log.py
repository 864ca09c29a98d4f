"""Candles as they grow: each sent anew with each of its quotes, and once more when it is over."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import takewhile

import structlog

from quotes.database.errors import UnavailableError
from quotes.database.models import Quote
from quotes.database.outages import Outage
from quotes.database.queries import history
from quotes.database.sessions import Sessions
from quotes.live.fan_out import FanOut
from quotes.live.feed import CursorLostError, Feed
from quotes.live.notifications import RETRY
from quotes.live.single_flight import SingleFlight
from quotes.market.intervals import Interval

log = structlog.get_logger()

# How long a candle waits for its last minute's quote, unless a later one's comes before.
GRACE = timedelta(seconds=10)
TAIL = 100  # candles in memory; no connection takes as long to drain as a hundred of a minute do


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class OpenCandle:
    """One candle that is still open."""

    sessions: Sessions
    ticker: str
    interval: Interval
    zone: tzinfo
    start: datetime

    @property
    def end(self) -> datetime:
        return self.interval.after(self.start, self.zone)

    async def read(self) -> list[history.Ohlc]:
        """Its quotes rolled up; empty where it has none. Raises DatabaseError."""
        async with self.sessions() as session:
            return await history.candles(session, self.ticker, [self.start], self.end)

    def at(self, moment: datetime) -> "OpenCandle":
        """The candle that contains `moment`."""
        return replace(self, start=self.interval.start(moment, self.zone))


@dataclass(frozen=True, slots=True)
class Candle:
    """The state of a candle as of a moment."""

    start: datetime
    end: datetime
    rolled: history.Ohlc
    as_of: datetime
    complete: bool


@dataclass(frozen=True, slots=True)
class CandleEvent:
    """A candle's new state; `seq` counts the events of its log."""

    seq: int
    ticker: str
    candle: Candle


class CandleLog:
    """The candles of one ticker and interval since this log was begun, as events.

    Of each candle only the newest state: so whoever reads slowly skips what is outdated, and sees
    every candle complete. It ends with `run`.
    """

    history = 0  # it is never replaced

    def __init__(self, open_candle: OpenCandle, single_flight: SingleFlight) -> None:
        self.last = 0  # the seq of the newest event
        self._open_candle = open_candle
        self._single_flight = single_flight
        self._events: deque[CandleEvent] = deque(maxlen=TAIL)
        self._grown = asyncio.Event()
        self._error: Exception | None = None

    async def position(self) -> int:
        return self.last

    async def beyond(
        self, cursor: int, tickers: Collection[str] | None, history: int
    ) -> tuple[Sequence[CandleEvent], int]:
        """As `subscriber.Log`. Raises whatever has ended this log."""
        while self.last == cursor:
            if self._error is not None:
                raise self._error
            await self._grown.wait()
        newest_first = takewhile(lambda event: event.seq > cursor, reversed(self._events))
        return list(newest_first)[::-1], self.last

    async def snapshot(self) -> tuple[Sequence[CandleEvent], int]:
        """The candle under way, or nothing where it has no quote yet; what follows is `beyond`."""
        end = self.last  # first: what comes meanwhile comes once more
        candles = await self._now()
        return [CandleEvent(end, self._open_candle.ticker, candle) for candle in candles], end

    async def run(self, quotes: AsyncIterator[Quote]) -> None:
        """Follow the ticker's quotes, for ever; ends only by cancellation or by a fault of ours.

        A quote of a candle that is over already changes nothing here.
        """
        coming = asyncio.ensure_future(anext(quotes))
        try:
            while True:
                quote = await _until(coming, self._open_candle.end + GRACE)
                await self._end_by(None if quote is None else quote.minute)
                if quote is not None:
                    coming = asyncio.ensure_future(anext(quotes))
                    if quote.minute >= self._open_candle.start:
                        self._append(await self._now())
        except Exception as error:
            self._error = error
            raise
        finally:
            self._wake()
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _end_by(self, minute: datetime | None) -> None:
        """Complete the candle under way where a quote's minute, or the time itself, is past it."""
        end = self._open_candle.end
        if minute is None or minute >= end:
            self._append(await _read(self._open_candle, self._single_flight, complete=True))
            self._open_candle = self._open_candle.at(max(end, now() if minute is None else minute))

    async def _now(self) -> list[Candle]:
        return await _read(self._open_candle, self._single_flight, complete=False)

    def _append(self, candles: Sequence[Candle]) -> None:
        for candle in candles:
            self.last += 1
            if self._events and self._events[-1].candle.start == candle.start:
                self._events.pop()
            self._events.append(CandleEvent(self.last, self._open_candle.ticker, candle))
            self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


async def _read(
    open_candle: OpenCandle, single_flight: SingleFlight, *, complete: bool
) -> list[Candle]:
    """The candle as of now; none where it has no quote. Waits for an unavailable database."""
    outage = Outage("candle")
    while True:
        try:
            rolled = await single_flight.read(open_candle)
        except UnavailableError as error:
            outage.failed(error)
            await asyncio.sleep(RETRY)
        else:
            outage.recovered()
            return [
                Candle(open_candle.start, open_candle.end, each, now(), complete) for each in rolled
            ]


async def _until(coming: "asyncio.Future[Quote]", end: datetime) -> Quote | None:
    """The quote, or None if none has come by then."""
    left = (end - now()).total_seconds()
    await asyncio.wait({coming}, timeout=max(left, 0))
    return coming.result() if coming.done() else None


async def _quotes(feed: Feed, ticker: str, position: int) -> AsyncGenerator[Quote, None]:
    """The ticker's quotes from there on; from the new end where the log is replaced."""
    while True:
        with suppress(CursorLostError):
            async for quote in feed.follow(position, {ticker}):
                yield quote
        position = await feed.position()


class CandleStream:
    """One log of candles and the fan-out to its subscribers, as long as there are any."""

    def __init__(
        self, feed: Feed, single_flight: SingleFlight, open_candle: OpenCandle, position: int
    ) -> None:
        self.log = CandleLog(open_candle, single_flight)
        self.fan_out = FanOut(self.log)
        self.subscribers = 0
        quotes = _quotes(feed, open_candle.ticker, position)
        self._tasks = [
            asyncio.create_task(self.log.run(quotes), name="candle-log"),
            asyncio.create_task(self.fan_out.run(), name="candle-fan-out"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # subscribers were given them


class CandleStreams:
    """One stream for all who follow the same candles."""

    def __init__(self, sessions: Sessions, feed: Feed, single_flight: SingleFlight) -> None:
        self._sessions = sessions
        self._feed = feed
        self._single_flight = single_flight
        self._open: dict[tuple[str, Interval, tzinfo], CandleStream] = {}

    @asynccontextmanager
    async def joined(
        self, ticker: str, interval: Interval, zone: tzinfo
    ) -> AsyncIterator[CandleStream]:
        """Raises UnavailableError where the log was never read yet."""
        position = await self._feed.position()
        key = (ticker, interval, zone)
        stream = self._open.get(key)
        if stream is None:
            open_candle = OpenCandle(
                self._sessions, ticker, interval, zone, interval.start(now(), zone)
            )
            stream = CandleStream(self._feed, self._single_flight, open_candle, position)
            self._open[key] = stream
        stream.subscribers += 1
        try:
            yield stream
        finally:
            stream.subscribers -= 1
            if not stream.subscribers:
                del self._open[key]
                await stream.close()
