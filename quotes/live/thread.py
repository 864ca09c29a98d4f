"""A thread for work that would hold up the event loop."""

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

    @property
    def waiting(self) -> int:
        return self._turns.waiting

    async def run(self, work: Callable[..., Made], *arguments: Any) -> Made:
        async with self._turns.turn():
            return await asyncio.to_thread(work, *arguments)
