"""What an index's channel has said: the first price of each of the last minutes, and the newest."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from quotes.market.sources import Tick

MINUTES = 3  # whose first prices are kept: a minute's collection may begin late


@dataclass(slots=True)
class Prices:
    """One index's prices at their own times, whatever order they arrive in."""

    newest: Tick | None = None
    added_at: float = float("-inf")  # the last of them, by the loop's clock
    _first: dict[datetime, Tick] = field(default_factory=dict)  # by their minutes
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, tick: Tick, now: float) -> None:
        self.added_at = now
        minute = _minute_of(tick)
        if (first := self._first.get(minute)) is None or tick.observed_at < first.observed_at:
            self._first[minute] = tick
        if self.newest is None or tick.observed_at > self.newest.observed_at:
            self.newest = tick
        while len(self._first) > MINUTES:
            del self._first[min(self._first)]
        self.wake()

    def first(self, minute: datetime) -> Tick | None:
        """The first known price of the minute that begins at `minute`."""
        return self._first.get(minute)

    async def changed(self) -> None:
        """Wait for the next price, or for `wake`."""
        await self._changed.wait()

    def wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _minute_of(tick: Tick) -> datetime:
    return tick.observed_at.replace(second=0, microsecond=0)
