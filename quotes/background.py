"""Loops that run beside a block, and end with it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

log = structlog.get_logger(__name__)

Ended = Callable[[asyncio.Task[None]], None]


def log_failure(task: asyncio.Task[None]) -> None:
    """For a loop that its process can do without."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("loop_failed", loop=task.get_name(), exc_info=error)


@asynccontextmanager
async def background(
    loop: Coroutine[Any, Any, None], name: str, ended: Ended = log_failure
) -> AsyncIterator[asyncio.Task[None]]:
    """Run `loop` until the block ends. `ended` is called with its task whenever that ends."""
    task = asyncio.create_task(loop, name=name)
    task.add_done_callback(ended)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
