"""The processes that `up` runs: watched together, and stopped in order."""

import asyncio
from enum import IntEnum

from quotes.local.processes import Process


class Stage(IntEnum):
    """What is stopped first has the highest number; one stage is stopped at once."""

    SERVERS = 0
    EXCHANGE = 1
    WORK = 2
    CLOCK = 3


class Fleet:
    """Processes that live and die together."""

    def __init__(self) -> None:
        self._processes: list[tuple[Stage, Process]] = []
        self._watches: list[asyncio.Task[None]] = []
        self._died: asyncio.Queue[Process] = asyncio.Queue()

    def add(self, stage: Stage, process: Process) -> None:
        self._processes.append((stage, process))
        self._watches.append(asyncio.create_task(self._watch(process)))

    async def first_death(self) -> Process:
        """Wait until one ends that nobody asked to."""
        return await self._died.get()

    async def stop(self) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        for stage in sorted(Stage, reverse=True):
            await asyncio.gather(*(each.stop() for at, each in self._processes if at is stage))

    def kill(self) -> None:
        for _, process in self._processes:
            process.kill()

    async def _watch(self, process: Process) -> None:
        await process.wait()
        self._died.put_nowait(process)
