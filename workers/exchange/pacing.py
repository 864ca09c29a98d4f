"""How fast the exchange is asked: one limiter for a whole process, with live prices first.

The exchange documents a bucket of 100 requests that refills at 20 a second, and keeps the limits of
anonymous callers to itself, so this stays well below. Spacing requests in time makes the number in
flight follow the latency: about 1 at 50 ms, 12 at 600 ms.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from quotes.market.sources import Priority

RATE = 12.0  # tokens a second: 278 tickers take 23 s of their minute
BURST = 4  # tokens that an idle time saves up
CONNECTIONS = 28  # in flight at most; the exchange allows an address 32
# What each kind may have in flight: what hangs leaves room, and a live price never waits for it.
SHARES = {
    Priority.LIVE: CONNECTIONS,
    Priority.RETRY: 10,
    Priority.PROBE: 8,
    Priority.REPAIR: 4,
    Priority.BACKFILL: 2,
}
# A chart costs the exchange more than a price, and two processes may share an address.
COSTS = {Priority.REPAIR: 2, Priority.BACKFILL: 2}
SLOWEST = 1.0  # tokens a second, however often the exchange says that it is too much
FEWEST = 2  # in flight, likewise
ONCE = 1.0  # seconds in which further complaints of the exchange count as the same
SHORTEST, LONGEST = 2.0, 10.0  # seconds that an answer may take
RECOVERY = 0.01  # of the whole limit, regained with each answer
ROUNDING = 1e-6  # of a token, so that no timer is set for no time at all
SMOOTHING = 0.1  # the weight of one answer's latency


class Pace:
    """A token bucket whose waiting requests are served by priority, then in their order."""

    def __init__(self, rate: float = RATE) -> None:
        self._full_rate = rate
        self._limit = 1.0  # the share of both limits that the exchange has put up with
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
        """Hold a place among the requests in flight; waits for it without a limit of its own."""
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
        """Note the latency of an answer, and regain a little of what was given up."""
        weight = SMOOTHING if self.latency else 1.0
        self.latency += (seconds - self.latency) * weight
        self._limit = min(1.0, self._limit + RECOVERY)

    def patience(self, priority: Priority) -> float:
        """Seconds to wait for an answer.

        A first request gives up soon, in favour of those that wait behind it: what hangs or is slow
        just once is asked for again by a patient one.
        """
        if priority is Priority.LIVE:
            return min(LONGEST, max(SHORTEST, 1.0 + 2.0 * self.latency))
        return LONGEST

    def limited(self) -> None:
        """Halve the rate and the number in flight: the exchange says that it is too much."""
        now = asyncio.get_running_loop().time()
        if now - self._limited_at >= ONCE:
            self._limited_at = now
            self._limit = max(SLOWEST / self._full_rate, self._limit / 2)
            self._refill(now)
            self._tokens = min(self._tokens, 0.0)

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._full_rate * self._limit

    @property
    def most(self) -> int:
        """Requests in flight at once."""
        return max(FEWEST, int(CONNECTIONS * self._limit))

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
        return self._in_flight[priority] < SHARES[priority] and self._in_flight.total() < self.most

    def _refill(self, now: float) -> None:
        self._tokens = min(BURST, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now
