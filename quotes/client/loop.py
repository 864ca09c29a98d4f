"""An event loop in a thread of its own, for callers that have none, or may not wait in theirs."""

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

Result = TypeVar("Result")

ENDING = 10.0  # seconds that the thread has to close what it holds


class Loop:
    """The thread, and a resource that it holds open.

    It ends with `close`, with the last reference to this, or with the program.
    """

    def __init__(self, resource: AbstractAsyncContextManager[Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._opened: set[AsyncGenerator[Any, None]] = set()  # what is being iterated over
        stop = asyncio.Event()
        thread = threading.Thread(
            target=_run,
            args=[self._loop, _hold(resource, self._opened, stop)],
            name="quotes-client",
            daemon=True,
        )
        thread.start()
        self.close = weakref.finalize(self, _end, self._loop, stop, thread)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """What the coroutine returns; it is cancelled where waiting for it is interrupted."""
        if not self.close.alive:
            coroutine.close()
            raise RuntimeError("This client is closed; make another")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:  # KeyboardInterrupt too
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[Result, None]) -> Generator[Result, None, None]:
        self._opened.add(items)
        try:
            while found := self.run(_next(items)):
                yield found[0]
        except GeneratorExit:
            if self.close.alive:  # without waiting: this may be any thread that frees memory
                asyncio.run_coroutine_threadsafe(_close(items), self._loop)
            raise
        finally:
            self._opened.discard(items)


def _run(loop: asyncio.AbstractEventLoop, holding: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(holding)


async def _hold(
    resource: AbstractAsyncContextManager[Any],
    opened: set[AsyncGenerator[Any, None]],
    stop: asyncio.Event,
) -> None:
    async with resource:
        await stop.wait()
        # What another thread waits for, or was interrupted in; the rest needs the resource to end.
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for items in tuple(opened):
            await items.aclose()


def _end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(stop.set)
    if thread is not threading.current_thread():  # which may be the one that frees memory
        thread.join(ENDING)


async def _next(items: AsyncGenerator[Result, None]) -> tuple[Result] | None:
    async for item in items:
        return (item,)
    return None


async def _close(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()
