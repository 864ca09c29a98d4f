"""The processes that `up` runs: restarted when they exit, and stopped in order."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from quotes.local.processes import Process
from quotes.local.server import EmbeddedError
from quotes.settings import REFUSED

Start = Callable[[], Awaitable[Process]]

DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each restart
FORGIVEN_SECONDS = 300.0  # a process that ran for so long starts with the first delay again


class Stage(IntEnum):
    """The highest number is stopped first; the processes of a stage are stopped together."""

    SERVERS = 0
    EXCHANGE = 1
    WORK = 2
    SCHEDULER = 3


class BrokenError(Exception):
    """A process is not restarted; the message is a sentence with the reason of its last exit."""


@dataclass(slots=True)
class _Part:
    stage: Stage
    start: Start
    process: Process


class Supervisor:
    """Runs processes; `delays` are the seconds before each restart of a process."""

    def __init__(self, delays: Sequence[float] = DELAYS) -> None:
        self._delays = delays
        self._parts: list[_Part] = []
        self._watches: list[asyncio.Task[None]] = []
        self._broken: asyncio.Queue[BrokenError] = asyncio.Queue()

    async def run(self, stage: Stage, start: Start) -> None:
        """Start a process, and restart it whenever it exits."""
        part = _Part(stage, start, await start())
        self._parts.append(part)
        self._watches.append(asyncio.create_task(self._watch(part)))

    async def broken(self) -> BrokenError:
        """Wait until a process has exited too often."""
        return await self._broken.get()

    async def stop(self) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        for stage in sorted(Stage, reverse=True):
            await asyncio.gather(
                *(part.process.stop() for part in self._parts if part.stage is stage)
            )

    def kill(self) -> None:
        for part in self._parts:
            part.process.kill()

    async def _watch(self, part: _Part) -> None:
        try:
            await self._keep_running(part)
        except BrokenError as error:
            self._broken.put_nowait(error)

    async def _keep_running(self, part: _Part) -> None:
        """Never returns; raises BrokenError."""
        restarts = 0
        while True:
            restarts = 0 if await _lifetime(part.process) > FORGIVEN_SECONDS else restarts
            reason = f"{part.process.name} {part.process.exit_reason()}"
            if part.process.log is None and part.process.child.returncode == REFUSED:
                raise BrokenError(f"{reason}. Everything else was stopped.")
            part.process, restarts = await self._restarted(part, reason, restarts)

    async def _restarted(self, part: _Part, reason: str, restarts: int) -> tuple[Process, int]:
        """The new process, and the number of restarts in a row."""
        for number, delay in enumerate(self._delays[restarts:], restarts + 1):
            print(
                f"{reason}; starting it again in {delay:g} s ({number} of {len(self._delays)}).",
                file=sys.stderr,
            )
            await asyncio.sleep(delay)
            try:
                return await part.start(), number
            except (EmbeddedError, OSError) as error:
                reason = f"{part.process.name} could not be started again: {error}"
        raise BrokenError(
            f"{reason}, after {len(self._delays)} restarts. Everything else was stopped."
        )


async def _lifetime(process: Process) -> float:
    """Wait until it exits; the seconds that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await process.wait()
    return loop.time() - began
