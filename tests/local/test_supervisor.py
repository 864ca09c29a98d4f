"""Parts that die, and what starts them again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from rows import until

from quotes.local import processes
from quotes.local.processes import Process
from quotes.local.server import EmbeddedError
from quotes.local.supervisor import Stage, Supervisor

AT_ONCE = (0.0, 0.0, 0.0)


def shell(script: str, *, log: Path | None = None) -> Callable[[], Awaitable[Process]]:
    async def start() -> Process:
        return await processes.start("The part", ["/bin/sh", "-c", script], log=log)

    return start


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(AT_ONCE)
    yield supervisor
    await supervisor.stop()


async def test_a_part_that_dies_is_started_again(
    supervisor: Supervisor, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    await supervisor.run(Stage.WORK, shell(f"echo $$ >> {tmp_path}/pids; exec sleep 60"))
    pids = tmp_path / "pids"
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 1)

    os.kill(int(pids.read_text()), signal.SIGKILL)

    await until(lambda: len(pids.read_text().split()) == 2)
    assert "The part was ended by SIGKILL; starting it again in 0 s (1 of 3)." in (
        capfd.readouterr().err
    )


async def test_a_part_that_dies_too_often_is_given_up_with_its_reason(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.run(Stage.WORK, shell(f"echo started >> {tmp_path}/starts; exit 7"))

    async with asyncio.timeout(60):
        broken = await supervisor.broken()

    assert str(broken) == (
        "The part ended with status 7 (see its lines above), after 3 restarts. "
        "Everything else was stopped."
    )
    assert len((tmp_path / "starts").read_text().split()) == 4


async def test_a_part_with_invalid_settings_is_not_restarted(
    supervisor: Supervisor,
) -> None:
    await supervisor.run(Stage.WORK, shell("exit 2"))

    async with asyncio.timeout(60):
        broken = await supervisor.broken()

    assert "ended with status 2 (see its lines above). Everything" in str(broken)


async def test_a_part_that_cannot_be_started_again_is_given_up_with_the_reason(
    supervisor: Supervisor,
) -> None:
    starts = 0

    async def start() -> Process:
        nonlocal starts
        starts += 1
        if starts > 1:
            raise EmbeddedError("the disk is full")
        return await shell("exit 0")()

    await supervisor.run(Stage.SERVERS, start)

    async with asyncio.timeout(60):
        broken = await supervisor.broken()

    assert "The part could not be started again: the disk is full, after 3" in str(broken)
    assert starts == 4


async def test_lines_are_referred_to_only_where_there_are_some(
    supervisor: Supervisor, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    await supervisor.run(Stage.WORK, shell("exit 0"))
    async with asyncio.timeout(60):
        assert "status 0, after" in str(await supervisor.broken())

    await supervisor.run(Stage.SERVERS, shell("kill -9 $$", log=tmp_path / "log"))
    async with asyncio.timeout(60):
        assert f"SIGKILL (see {tmp_path / 'log'}), after" in str(await supervisor.broken())


async def test_a_stop_while_a_part_waits_for_its_restart_leaves_nothing(tmp_path: Path) -> None:
    supervisor = Supervisor((600.0,))
    await supervisor.run(Stage.WORK, shell("exit 1"))
    await supervisor.run(Stage.WORK, shell(f"echo $$ > {tmp_path}/pid; exec sleep 60"))
    pid = tmp_path / "pid"
    await until(lambda: pid.exists() and pid.read_text() != "")

    async with asyncio.timeout(60):
        await supervisor.stop()

    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
