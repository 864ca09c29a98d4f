"""The scheduler's and the worker's log while a server is unavailable, and whose code they run."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from processes import environment, send, send_later
from rows import minute, wait

from quotes import metrics, queue
from quotes.database import backfills, connections, heartbeats, indexes
from quotes.database.heartbeats import Heartbeat
from quotes.database.models import Part
from quotes.database.outages import Outage
from quotes.database.sessions import Sessions
from quotes.local.embedded import Valkey
from quotes.market.selection import Selection
from quotes.settings import Settings
from workers import scheduler
from workers.scheduler import NO_QUEUE, QUEUE_UNAVAILABLE


@pytest.fixture
async def valkey(folder: Path) -> AsyncIterator[Valkey]:
    """A queue of the test's own, to be killed."""
    server = Valkey(folder / "valkey")
    await server.start()
    yield server
    await server.stop()


class Output:
    """What a process has written to stderr so far."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def lines(self) -> list[str]:
        return self._file.read_text().splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Each line, which must be a log event."""
        return [json.loads(line) for line in self.lines]

    async def until(self, has: Callable[[str], bool]) -> None:
        await wait(lambda: asyncio.sleep(0, self.lines), lambda lines: any(map(has, lines)))


@asynccontextmanager
async def quotes(word: str, settings: Settings, folder: Path) -> AsyncIterator[Output]:
    """`quotes WORD`, in that folder."""
    log = folder / f"{word}.log"
    command = (sys.executable, "-P", "-m", "quotes", word)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment(settings), cwd=folder, stderr=output
        )
    try:
        yield Output(log)
    finally:
        process.terminate()
        async with asyncio.timeout(60):
            assert await process.wait() == 0


async def messages(settings: Settings) -> int:
    names = [f"{queue.namespace(settings)}:{name}" for name in queue.QUEUES]
    async with redis.asyncio.Redis.from_url(settings.require_redis_url()) as server:
        return sum([int(await server.llen(name)) for name in names])


async def test_a_folder_named_as_ours_in_the_current_one_is_not_run(
    settings: Settings, tmp_path: Path
) -> None:
    for name in ("workers", "quotes", "pendulum", "dramatiq"):
        shadow = tmp_path / name
        shadow.mkdir()
        (shadow / "__init__.py").write_text("raise SystemExit('not ours')")

    async with quotes("scheduler", settings, tmp_path) as output:
        await wait(lambda: messages(settings), bool)

    assert not any("not ours" in line for line in output.lines)


async def last(sessions: Sessions) -> dict[Part, Heartbeat]:
    async with sessions() as session:
        return await heartbeats.last(session)


async def problem_of_scheduler(sessions: Sessions, problem: str | None) -> None:
    """Wait until it has reported this one."""
    await wait(
        lambda: last(sessions),
        lambda found: Part.SCHEDULER in found and found[Part.SCHEDULER].problem == problem,
    )


async def test_a_worker_leaves_signs_of_life(
    settings: Settings, sessions: Sessions, tmp_path: Path
) -> None:
    async with quotes("worker", settings, tmp_path):
        seen = await wait(lambda: last(sessions), bool)

    assert seen[Part.WORKER].age < timedelta(seconds=60)


async def test_a_queue_that_is_away_is_one_line_of_the_scheduler_s_and_one_when_it_is_back(
    valkey: Valkey, settings: Settings, sessions: Sessions, tmp_path: Path
) -> None:
    own = settings.model_copy(update={"redis_url": Settings(redis_url=valkey.url).redis_url})
    await valkey.stop()

    async with quotes("scheduler", own, tmp_path) as output:
        await output.until(lambda line: "queue_unavailable" in line)
        await problem_of_scheduler(sessions, NO_QUEUE)
        await valkey.start()
        await wait(lambda: messages(own), bool)
        await problem_of_scheduler(sessions, None)

    events = [each["event"] for each in output.events]
    assert events == ["scheduler_leads", "queue_unavailable", "queue_unavailable_ended"]


async def test_periodiq_ends_without_a_word_where_it_cannot_send_as_the_scheduler_says_why(
    valkey: Valkey, settings: Settings, tmp_path: Path
) -> None:
    own = settings.model_copy(update={"redis_url": Settings(redis_url=valkey.url).redis_url})
    await valkey.stop()

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "workers.periodiq_process"),
        env=environment(own),
        stderr=asyncio.subprocess.PIPE,
    )
    _, output = await process.communicate()

    assert (process.returncode, output) == (QUEUE_UNAVAILABLE, b"")


async def test_a_queue_that_goes_away_leaves_only_a_few_log_events_of_the_worker(
    valkey: Valkey, settings: Settings, tmp_path: Path
) -> None:
    own = settings.model_copy(update={"redis_url": Settings(redis_url=valkey.url).redis_url})

    async with quotes("worker", own, tmp_path) as output:
        await output.until(lambda line: "worker_ready" in line)
        for _ in range(2):
            valkey.kill()
            await valkey.wait()
            await output.until(lambda line: "Consumer encountered" in line)
            await valkey.start()

    assert not any("exception" in each for each in output.events)
    assert len(output.events) <= 6


async def test_a_queue_that_does_not_answer_for_a_while_stops_no_worker(
    valkey: Valkey, settings: Settings, tmp_path: Path
) -> None:
    impatient = f"{valkey.url}&socket_timeout=0.2"
    own = settings.model_copy(update={"redis_url": Settings(redis_url=impatient).redis_url})
    assert valkey.process is not None
    server = valkey.process.child.pid

    async with quotes("worker", own, tmp_path) as output:
        await output.until(lambda line: "worker_ready" in line)
        send_later(own, minute(0))
        await wait(lambda: messages(own), lambda found: not found)
        os.kill(server, signal.SIGSTOP)
        try:
            await output.until(lambda line: "Consumer encountered" in line)
        finally:
            os.kill(server, signal.SIGCONT)
        send(own, minute(0), "not a ticker")
        await wait(lambda: messages(own), lambda found: not found)

    assert not any("exception" in each for each in output.events)


@pytest.mark.parametrize("word", ["worker", "scheduler"])
async def test_a_setting_that_proves_wrong_ends_the_process_with_a_sentence_and_status_2(
    word: str, settings: Settings
) -> None:
    send(settings, minute(0))

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "quotes", word),
        env=environment(settings, QUOTES_DATABASE_URL="postgresql://", PGPORT="abc"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()

    assert process.returncode == 2, output
    assert b"PGPORT" in output.splitlines()[-1]
    assert b"Traceback" not in output


async def test_the_leader_counts_the_charts_that_are_left_of_what_patterns_select(
    settings: Settings, sessions: Sessions
) -> None:
    connection = await connections.connector(settings.require_database_url(), name="test")()
    async with sessions.begin() as session:
        await indexes.replace(session, ["btc_usdc", "eth_usdc", "eth_usd"])
        added = ["btc_usd", "btc_usdc", "eth_usdc", "eth_usd"]
        await backfills.add(session, added, now=minute(0))

    for words, charts in ((["btc_usd", "*_usdc"], 3 * 6), (["eth_usd"], 6), (["*_xyz"], 0)):
        await scheduler._beat(connection, None, Selection.of(words), Outage("test"))
        assert metrics.CHARTS_LEFT._value.get() == charts
    await connection.close()
