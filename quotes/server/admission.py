"""Which queries begin: as many at once as the database is asked by, the others after a short wait.

What cannot begin soon is refused at once and truly, so that whoever asked can ask elsewhere or
later, and what has begun is answered as fast as ever.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from quotes.api.errors import RETRY_AFTER, Code, Refusal
from quotes.live.turns import Turns

MAX_WAITING = 256  # queries; at a millisecond each, as many as are answered within the wait


class Admission:
    """At most `most` queries run at once; others wait `wait` seconds, in fair turns."""

    def __init__(self, most: int, wait: float) -> None:
        self._turns = Turns(most)
        self._wait = wait

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """A query's place. Raises Refusal (OVERLOADED) where it cannot have one in time."""
        if self._turns.waiting >= MAX_WAITING:
            raise overloaded()
        try:
            async with asyncio.timeout(self._wait):
                await self._turns.take()
        except TimeoutError:
            raise overloaded() from None
        try:
            yield
        finally:
            self._turns.give()


def overloaded() -> Refusal:
    return Refusal(
        Code.OVERLOADED,
        "More queries are asked than can be answered in time. Try again in a second.",
        retryAfter=RETRY_AFTER,
    )
