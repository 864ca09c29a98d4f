"""The rate limit of requests to the exchange: one per process, with live prices first.

The exchange documents a bucket of 100 requests that refills at 20 a second, but not the limits of
anonymous callers, so this stays well below. As requests are spaced in time, the number in flight
follows the latency: about 1 at 50 ms, 12 at 600 ms.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from quotes.market.sources import Priority

RATE = 12.0  # tokens a second: 278 tickers take 23 s of their minute
BURST = 4  # tokens that accumulate while idle
CONNECTIONS = 28  # in flight at most; the exchange allows an address 32
# The most in flight of each priority: requests that hang leave room for live prices.
SHARES = {
    Priority.LIVE: CONNECTIONS,
    Priority.RETRY: 10,
    Priority.PROBE: 8,
    Priority.REPAIR: 4,
    Priority.BACKFILL: 2,
}
# A chart costs the exchange more than a price, and two processes may share an address.
COSTS = {Priority.REPAIR: 2, Priority.BACKFILL: 2}
MIN_RATE = 1.0  # tokens a second, however often the exchange rate-limits
MIN_IN_FLIGHT = 2  # in flight, likewise
LIMIT_WINDOW = 1.0  # seconds in which further rate-limit errors count as the same one
MIN_TIMEOUT, MAX_TIMEOUT = 2.0, 10.0  # seconds that an answer may take
RECOVERY = 0.01  # of the full limit, regained with each answer
ROUNDING = 1e-6  # of a token, so that no timer is set for a zero delay
SMOOTHING = 0.1  # the weight of one answer's latency


class Pace:
    """A token bucket whose waiting requests are served by priority, then in their order."""

    def __init__(self, rate: float = RATE) -> None:
        self._full_rate = rate
        self._limit = 1.0  # the share of both limits in use
        self._tokens, self._filled_at = float(BURST), 0.0
        self._waiting: dict[Priority, deque[asyncio.Future[None]]] = {
            priority: deque() for priority in Priority
        }
        self._in_flight: Counter[Priority] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._limited_at = float("-inf")
        self.latency = 0.0  # seconds until an answer, smoothed; 0 until there was one

    @asynccontextmanager
    async def turn(self, priority: Priority) -> AsyncIterator[None]:
        """Hold a place among the requests in flight; the wait for it has no time limit."""
        granted = asyncio.get_running_loop().create_future()
        self._waiting[priority].append(granted)
        self._grant()
        try:
            await granted
            yield
        finally:
            if granted.done() and not granted.cancelled():
                self._in_flight[priority] -= 1
            self._grant()

    def answered(self, seconds: float) -> None:
        """Record the latency of an answer, and raise the limits a little again."""
        weight = SMOOTHING if self.latency else 1.0
        self.latency += (seconds - self.latency) * weight
        self._limit = min(1.0, self._limit + RECOVERY)

    def timeout(self, priority: Priority) -> float:
        """Seconds to wait for an answer.

        A first request times out early in favour of those queued behind it; a ticker that was slow
        once is retried with the long timeout.
        """
        if priority is Priority.LIVE:
            return min(MAX_TIMEOUT, max(MIN_TIMEOUT, 1.0 + 2.0 * self.latency))
        return MAX_TIMEOUT

    def limited(self) -> None:
        """Halve the rate and the number in flight after a rate-limit error."""
        now = asyncio.get_running_loop().time()
        if now - self._limited_at >= LIMIT_WINDOW:
            self._limited_at = now
            self._limit = max(MIN_RATE / self._full_rate, self._limit / 2)
            self._refill(now)
            self._tokens = min(self._tokens, 0.0)

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._full_rate * self._limit

    @property
    def max_in_flight(self) -> int:
        """Requests in flight at once."""
        return max(MIN_IN_FLIGHT, int(CONNECTIONS * self._limit))

    def _grant(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._refill(loop.time())
        for priority, waiting in self._waiting.items():
            cost = COSTS.get(priority, 1)
            while waiting and self._has_room(priority):
                if waiting[0].done():
                    waiting.popleft()  # it was cancelled
                elif self._tokens + ROUNDING < cost:
                    after = (cost - self._tokens) / self.rate
                    self._timer = loop.call_later(after, self._grant)
                    return
                else:
                    self._tokens -= cost
                    self._in_flight[priority] += 1
                    waiting.popleft().set_result(None)

    def _has_room(self, priority: Priority) -> bool:
        return (
            self._in_flight[priority] < SHARES[priority]
            and self._in_flight.total() < self.max_in_flight
        )

    def _refill(self, now: float) -> None:
        self._tokens = min(BURST, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now
