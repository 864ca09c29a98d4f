"""What many ask for at once, read once for all of them."""

import asyncio
from collections.abc import Hashable
from typing import Any, Protocol, TypeVar

from quotes.live.feed import Feed, Version

AT_ONCE = 4  # readings being made: half of the pool stays for everything else
MAX_KEPT = 1_024  # readings; any more are made again

Found_co = TypeVar("Found_co", covariant=True)


class Reading(Hashable, Protocol[Found_co]):
    """What is to be read. Equal ones find the same."""

    async def read(self) -> Found_co:
        """Read it from the database, anew."""
        ...


class Readings:
    """Makes each reading once for all who ask for it between two commits.

    So thousands who come at once after a restart, or who follow the same, use up neither the pool
    nor the database.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._kept: dict[Reading[Any], tuple[Version, asyncio.Task[Any]]] = {}

    async def now(self, reading: Reading[Found_co]) -> Found_co:
        """What is found with all that the feed has told of. Raises what `reading.read` raises."""
        version = self._feed.version
        made, task = self._kept.pop(reading, (version, None))
        if task is None or made != version or _failed(task):
            task = asyncio.create_task(self._make(reading), name="reading")
            task.add_done_callback(_failed)  # so that one whose askers all left warns of nothing
        if len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[reading] = (version, task)
        return await asyncio.shield(task)

    async def _make(self, reading: Reading[Found_co]) -> Found_co:
        async with self._turns:
            return await reading.read()


def _failed(task: "asyncio.Task[Any]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
