"""Work that would hold up the event loop: in a thread, or a piece in each of the loop's rounds."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from quotes.live.turns import Turns

Made = TypeVar("Made")


class Thread:
    """One piece of work at a time, in fair turns of the clients that it is for.

    The interpreter lets the event loop in after 5 ms; of several threads, it might have to wait for
    each of them.
    """

    def __init__(self) -> None:
        self._turns = Turns(1)
        self._rounds = Turns(1)

    @property
    def waiting(self) -> int:
        return self._turns.waiting

    @property
    def waiting_between(self) -> int:
        return self._rounds.waiting

    async def run_between(self, work: Callable[..., Made], *arguments: Any) -> Made:
        """Work of a few milliseconds, by the event loop itself, which does one in each round."""
        await self._rounds.take()
        asyncio.get_running_loop().call_soon(self._rounds.give)
        return work(*arguments)

    async def run(self, work: Callable[..., Made], *arguments: Any) -> Made:
        async with self._turns.turn():
            return await asyncio.to_thread(work, *arguments)
