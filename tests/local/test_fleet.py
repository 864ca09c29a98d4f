"""Parts that die, and what starts them again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from rows import until

from quotes.local import processes
from quotes.local.fleet import Fleet, Stage
from quotes.local.processes import Process
from quotes.local.server import EmbeddedError

AT_ONCE = (0.0, 0.0, 0.0)


def shell(script: str, *, log: Path | None = None) -> Callable[[], Awaitable[Process]]:
    async def start() -> Process:
        return await processes.start("The part", ["/bin/sh", "-c", script], log=log)

    return start


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet(AT_ONCE)
    yield fleet
    await fleet.stop()


async def test_a_part_that_dies_is_started_again(
    fleet: Fleet, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    await fleet.run(Stage.WORK, shell(f"echo $$ >> {tmp_path}/pids; exec sleep 60"))
    pids = tmp_path / "pids"
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 1)

    os.kill(int(pids.read_text()), signal.SIGKILL)

    await until(lambda: len(pids.read_text().split()) == 2)
    assert "The part was ended by SIGKILL; starting it again in 0 s (1 of 3)." in (
        capfd.readouterr().err
    )


async def test_a_part_that_dies_too_often_is_given_up_with_its_reason(
    fleet: Fleet, tmp_path: Path
) -> None:
    await fleet.run(Stage.WORK, shell(f"echo started >> {tmp_path}/starts; exit 7"))

    async with asyncio.timeout(20):
        broken = await fleet.broken()

    assert str(broken) == (
        "The part ended with status 7 (see its lines above), after 3 restarts. "
        "Everything else was stopped."
    )
    assert len((tmp_path / "starts").read_text().split()) == 4


async def test_a_part_whose_settings_are_refused_is_not_started_again(fleet: Fleet) -> None:
    await fleet.run(Stage.WORK, shell("exit 2"))

    async with asyncio.timeout(20):
        broken = await fleet.broken()

    assert "ended with status 2 (see its lines above). Everything" in str(broken)


async def test_a_part_that_cannot_be_started_again_is_given_up_with_the_reason(
    fleet: Fleet,
) -> None:
    starts = 0

    async def start() -> Process:
        nonlocal starts
        starts += 1
        if starts > 1:
            raise EmbeddedError("the disk is full")
        return await shell("exit 0")()

    await fleet.run(Stage.SERVERS, start)

    async with asyncio.timeout(20):
        broken = await fleet.broken()

    assert "The part could not be started again: the disk is full, after 3" in str(broken)
    assert starts == 4


async def test_lines_are_referred_to_only_where_there_are_some(
    fleet: Fleet, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    await fleet.run(Stage.WORK, shell("exit 0"))
    async with asyncio.timeout(20):
        assert "status 0, after" in str(await fleet.broken())

    await fleet.run(Stage.SERVERS, shell("kill -9 $$", log=tmp_path / "log"))
    async with asyncio.timeout(20):
        assert f"SIGKILL (see {tmp_path / 'log'}), after" in str(await fleet.broken())


async def test_a_stop_while_a_part_waits_for_its_restart_leaves_nothing(tmp_path: Path) -> None:
    fleet = Fleet((600.0,))
    await fleet.run(Stage.WORK, shell("exit 1"))
    await fleet.run(Stage.WORK, shell(f"echo $$ > {tmp_path}/pid; exec sleep 60"))
    pid = tmp_path / "pid"
    await until(lambda: pid.exists() and pid.read_text() != "")

    async with asyncio.timeout(20):
        await fleet.stop()

    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
