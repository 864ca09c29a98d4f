"""Loops beside a block."""

import asyncio

import structlog

from quotes.background import background


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _failing() -> None:
    raise LookupError("a fault of ours")


async def test_a_loop_ends_with_its_block() -> None:
    ended: list[asyncio.Task[None]] = []
    async with background(_for_ever(), "waits", ended.append) as task:
        await asyncio.sleep(0)
        assert not task.done()

    assert task.cancelled()
    assert ended == [task]


async def test_a_loop_that_fails_is_logged_at_once_and_does_not_end_the_block() -> None:
    with structlog.testing.capture_logs() as written:
        async with background(_failing(), "fails") as task:
            await asyncio.wait([task])
            await asyncio.sleep(0)  # its callbacks
            (line,) = written

    assert (line["event"], line["loop"], line["log_level"]) == ("loop_failed", "fails", "critical")
    assert isinstance(line["exc_info"], LookupError)


async def test_an_owner_hears_of_a_loop_that_fails() -> None:
    ended: list[asyncio.Task[None]] = []
    async with background(_failing(), "fails", ended.append) as task:
        await asyncio.wait([task])

    assert ended == [task]
    assert isinstance(task.exception(), LookupError)
