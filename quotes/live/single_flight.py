"""Single flight: reads that many request at once are done once for all of them."""

import asyncio
from collections.abc import Hashable
from typing import Any, Protocol, TypeVar

from quotes.live.feed import Feed, Version

AT_ONCE = 4  # reads in progress: half of the pool stays free for everything else
MAX_STORED = 1_024  # results; the oldest is dropped for another

Found_co = TypeVar("Found_co", covariant=True)


class SharedRead(Hashable, Protocol[Found_co]):
    """A read whose result may be shared: equal ones find the same."""

    async def read(self) -> Found_co:
        """Read from the database."""
        ...


class SingleFlight:
    """Does each read once for everyone who requests it between two commits.

    So thousands who reconnect after a restart, or who subscribe to the same, exhaust neither the
    pool nor the database.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._stored: dict[SharedRead[Any], tuple[Version, asyncio.Task[Any]]] = {}

    async def read(self, shared: SharedRead[Found_co]) -> Found_co:
        """The result, which includes all that the feed has read. Raises as `shared.read`."""
        version = self._feed.version
        begun, task = self._stored.pop(shared, (version, None))
        if task is None or begun != version or _failed(task):
            task = asyncio.create_task(self._start(shared), name="shared-read")
            task.add_done_callback(_failed)  # retrieves the error, even where all callers have left
        if len(self._stored) >= MAX_STORED:
            del self._stored[next(iter(self._stored))]
        self._stored[shared] = (version, task)
        return await asyncio.shield(task)

    async def _start(self, shared: SharedRead[Found_co]) -> Found_co:
        async with self._turns:
            return await shared.read()


def _failed(task: "asyncio.Task[Any]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
