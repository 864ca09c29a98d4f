"""Which queries begin: as many at once as have a connection, the others after a short wait.

What cannot begin soon is refused at once and truly, so that its client can try elsewhere or
later, and what has begun is answered as fast as ever. Dear operations have few of the places, so
that cheap ones need not wait for them, nor all cores compute them.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any

from quotes import metrics
from quotes.api.errors import RETRY_AFTER, Code, RefusedError
from quotes.live.turns import Turns

STANDING = 20.0  # seconds; a statement is cancelled after half of it
AT_ONCE = 8  # requests begun, or refused, in one round of the event loop: some 5 ms
IMMEDIATE_AT_ONCE = 200  # answers given at once in one round of the event loop: some 6 ms
DEAR = 25  # points, from which on an operation has one of the few places
DEAR_SHARE = 4  # one in so many places
MAX_WAITING = 256  # queries; at a millisecond each, as many as are answered within the wait

# Until when the current task's request may wait, by the loop's clock; None where it has begun.
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)

_WAITS = metrics.LANE_WAITS.labels("queries")


class Admission:
    """At most `most` queries run at once; others wait `wait` seconds, in fair turns.

    A request's wait counts from its arrival, whatever it waits for.
    """

    def __init__(self, most: int, wait: float) -> None:
        self._turns = Turns(most)
        self._dear = Turns(max(1, most // DEAR_SHARE))
        self._entrances = Turns(AT_ONCE)
        self._immediate = Turns(IMMEDIATE_AT_ONCE)
        self._refusals = Turns(AT_ONCE)
        self._wait = wait
        self._running = 0
        self.admitted_total = self.refused_total = 0
        self._moved_at = time.monotonic()  # when one began or ended last

    def state(self) -> dict[str, Any]:
        """Not well where queries wait, and for a while none has begun or ended."""
        standing = time.monotonic() - self._moved_at > STANDING
        state = {"running": self._running, "waiting": self.waiting}
        if self._running and standing:
            return {"ok": False, "reason": "no query has begun or ended for a while", **state}
        return {"ok": True, **state}

    @property
    def waiting(self) -> int:
        """How many queries wait for their turn."""
        return self._turns.waiting + self._dear.waiting

    @property
    def running(self) -> int:
        return self._running

    async def enter(self) -> None:
        """Let a request begin, be it answered from memory or not, a few in each round of the loop.

        Raises RefusedError (OVERLOADED) where that takes too long.
        """
        _deadline.set(self._latest())
        await self._require(self._entrances)
        asyncio.get_running_loop().call_soon(self._entrances.give)

    def enter_now(self) -> bool:
        """As `enter`, for a request that is answered at once; whether it may be."""
        free = self._immediate.take_free()
        if free:
            asyncio.get_running_loop().call_soon(self._immediate.give)
        return free

    @asynccontextmanager
    async def admitted(self, points: int = 0) -> AsyncIterator[None]:
        """A place for a query that may cost so many points.

        Raises RefusedError (OVERLOADED) where it cannot have one in time.
        """
        began = time.monotonic()
        async with AsyncExitStack() as places:
            for turns in [self._dear, self._turns] if points >= DEAR else [self._turns]:
                await self._require(turns)
                places.callback(turns.give)
            _deadline.set(None)
            _WAITS.observe(time.monotonic() - began)
            self.admitted_total += 1
            self._move(1)
            try:
                yield
            finally:
                self._move(-1)

    async def _require(self, turns: Turns) -> None:
        """Take a turn that is given back later. Raises RefusedError where none is free in time."""
        if not await self._taken(turns):
            self.refused_total += 1
            async with self._refusals.turn():
                await asyncio.sleep(0)
            raise overloaded()

    async def _taken(self, turns: Turns) -> bool:
        if turns.take_free():
            return True
        if turns.waiting >= MAX_WAITING:
            return False
        try:
            async with asyncio.timeout_at(_deadline.get() or self._latest()):
                await turns.take()
        except TimeoutError:
            return False
        return True

    def _latest(self) -> float:
        return asyncio.get_running_loop().time() + self._wait

    def _move(self, running: int) -> None:
        self._running += running
        self._moved_at = time.monotonic()


def overloaded() -> RefusedError:
    return RefusedError(
        Code.OVERLOADED,
        "More queries are sent than can be answered in time. Try again in a second.",
        retryAfter=RETRY_AFTER,
    )
