"""`quotes up` as its user runs it: a real process, with all that it starts."""

import os
import re
import signal
import socket
import subprocess
import sys
from asyncio import create_subprocess_exec, timeout
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from client import Client
from rows import insert, quote, until, wait

from quotes.database import connections
from quotes.database.sessions import Sessions
from quotes.local import external
from quotes.local.preflight import PreflightError
from quotes.local.running import hold
from quotes.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets for PostgreSQL")

LATEST = '{ latestPrice(ticker: "BTC") { price source at } }'


@dataclass
class Run:
    """One `quotes up`, its output in files that its children may hold open."""

    process: Process
    folder: Path
    url: str

    @property
    def output(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def troubles(self) -> str:
        return (self.folder / "stderr").read_text()

    async def ready(self) -> None:
        await until(
            lambda: "Ready" in self.output or self.process.returncode is not None, seconds=60
        )
        assert "Ready" in self.output, self.troubles

    async def status(self) -> int:
        async with timeout(60):
            return await self.process.wait()

    def descendants(self) -> dict[int, str]:
        return dict(_descendants(self.process.pid, _processes()))


Start = Callable[..., Coroutine[Any, Any, Run]]


def _processes() -> list[tuple[int, int, str]]:
    """Process, parent and command of all that run. A zombie has ended."""
    command = ["ps", "-e", "-ww", "-o", "pid=,ppid=,stat=,args="]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(maxsplit=3) for line in lines]
    return [(int(row[0]), int(row[1]), row[3]) for row in rows if not row[2].startswith("Z")]


def _descendants(root: int, processes: list[tuple[int, int, str]]) -> Iterator[tuple[int, str]]:
    for pid, parent, command in processes:
        if parent == root:
            yield pid, command
            yield from _descendants(pid, processes)


def _living(pids: dict[int, str]) -> dict[int, str]:
    """Those of `pids` that still run; a number may be another command's by now."""
    return {pid: command for pid, _, command in _processes() if pids.get(pid) == command}


@pytest.fixture
async def up(folder: Path, free_tcp_port: int) -> AsyncIterator[Start]:
    """Starts `quotes up`, with data in `folder`; ends what the test left running."""
    async with AsyncExitStack() as stack:

        async def start(*words: str, **environment: str) -> Run:
            with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
                process = await create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "quotes", "up", *words),
                    env={
                        "PATH": os.environ["PATH"],
                        "QUOTES_DATA_DIR": str(folder / "data"),
                        "QUOTES_PORT": str(free_tcp_port),
                        **environment,
                    },
                    stdin=DEVNULL,
                    stdout=out,
                    stderr=err,
                )
            run = Run(process, folder, f"http://127.0.0.1:{free_tcp_port}")
            stack.push_async_callback(_end, run)
            return run

        yield start


async def _end(run: Run) -> None:
    if run.process.returncode is None:
        run.process.terminate()
    await run.status()


async def latest(run: Run) -> Any:
    """The latest price, once its parts that were ended are all there again."""
    async with aiohttp.ClientSession() as http:
        whole = await wait(
            lambda: Client(http, run.url).answer(LATEST),
            lambda answer: "errors" not in answer and answer["data"]["latestPrice"],
        )
        return whole["data"]["latestPrice"]


def servers(settings: Settings) -> dict[str, str]:
    return {
        "QUOTES_DATABASE_URL": settings.require_database_url(),
        "QUOTES_REDIS_URL": settings.require_redis_url(),
    }


async def test_the_demo_answers_a_made_up_price_until_ctrl_c_ends_everything_with_status_0(
    up: Start, folder: Path
) -> None:
    run = await up("--demo")
    await run.ready()
    assert re.fullmatch(rf"Ready: .*{run.url}/graphql .*made up\)\n", run.output)
    assert (await latest(run))["source"] == "demo"
    everything = run.descendants()
    commands = " ".join(everything.values())
    assert all(word in commands for word in ("quotes api", "workers.worker", "workers.scheduler"))

    run.process.send_signal(signal.SIGINT)
    run.process.send_signal(signal.SIGTERM)  # as where a whole group is shown: still the same wish

    assert await run.status() == 0
    log = (folder / "data" / "demo" / "postgres" / "log").read_text()
    assert log.endswith("database system is shut down\n")
    assert _living(everything) == {}


async def test_other_commands_work_on_the_up_that_runs_here(up: Start, folder: Path) -> None:
    run = await up("--demo")
    await run.ready()

    status, output = await command(folder, "backfill", "SOL_USD", "--range", "1h")
    assert (status, output.partition(",")[0]) == (0, "sol_usd 1h: 600 points")
    assert "dead" in (await command(folder, "queue"))[1]
    async with aiohttp.ClientSession() as http:
        client = Client(http, run.url)
        assert (await client.data('{ series(ticker: "sol_usd") { count } }'))["count"] > 50
    status, output = await command(folder, "doctor")
    assert (status, "FAILED" in output, "disk" in output) == (0, False, True), output

    run.process.terminate()
    assert await run.status() == 0
    assert await command(folder, "backfill", "SOL_USD") == (2, "")
    assert await command(folder, "queue") == (2, "")


async def command(folder: Path, *words: str) -> tuple[int | None, str]:
    """The exit status and the output of `quotes WORDS`, for the data in `folder`."""
    process = await create_subprocess_exec(
        *(sys.executable, "-P", "-m", "quotes", *words),
        env={"PATH": os.environ["PATH"], "QUOTES_DATA_DIR": str(folder / "data")},
        stdout=PIPE,
        stderr=DEVNULL,
    )
    async with timeout(60):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_ctrl_c_during_the_start_leaves_nothing(up: Start, folder: Path) -> None:
    run = await up("--demo")
    await until((folder / "data" / "demo" / "postgres" / "data.new").exists)
    everything = run.descendants()

    run.process.send_signal(signal.SIGINT)

    assert await run.status() == 0
    assert _living(everything) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals this death to a child")
async def test_a_killed_supervisor_takes_everything_with_it_but_the_data(up: Start) -> None:
    run = await up("--demo")
    await run.ready()
    before = await latest(run)
    everything = run.descendants()

    run.process.kill()
    await run.status()

    await until(lambda: not _living(everything))
    again = await up("--demo")
    await again.ready()
    assert (await latest(again))["at"] >= before["at"]
    assert "Migrat" not in again.troubles


async def test_parts_that_die_are_named_and_started_again(up: Start, folder: Path) -> None:
    run = await up("--demo", PGPORT="5999", PGSSLMODE="verify-full", PGTARGETSESSIONATTRS="standby")
    await run.ready()
    before = await latest(run)
    everything = run.descendants()

    for part in ("workers.worker", "quotes api", "bin/postgres -D", "valkey-server"):
        os.kill(_only(part, everything), signal.SIGKILL)

    await until(lambda: run.troubles.count("; starting it again in 1 s (1 of 5).") == 4)
    assert "The worker was ended by SIGKILL; starting" in run.troubles
    log = folder / "data" / "demo" / "postgres" / "log"
    assert f"PostgreSQL was ended by SIGKILL (see {log}); starting" in run.troubles
    port = int(run.url.rpartition(":")[2])
    await until(lambda: not _can_listen(port), seconds=60)
    assert (await latest(run))["at"] >= before["at"]
    everything |= run.descendants()
    run.process.send_signal(signal.SIGINT)
    assert await run.status() == 0
    assert _living(everything) == {}


def _only(part: str, processes: dict[int, str]) -> int:
    (pid,) = (pid for pid, command in processes.items() if part in command)
    return pid


async def test_ctrl_c_while_a_part_waits_for_its_restart_leaves_nothing(
    up: Start, settings: Settings
) -> None:
    run = await up("--demo", **servers(settings))
    await run.ready()
    everything = run.descendants()

    os.kill(_only("workers.worker", everything), signal.SIGKILL)
    await until(lambda: "starting it again" in run.troubles)
    run.process.send_signal(signal.SIGINT)

    assert await run.status() == 0
    assert _living(everything | run.descendants()) == {}


async def test_a_part_whose_settings_are_refused_ends_everything_with_its_sentence(
    up: Start, settings: Settings
) -> None:
    run = await up("--demo", **servers(settings), QUOTES_HOST="127.0.0.1")
    await run.ready()
    everything = run.descendants()
    os.kill(_only("quotes api", everything), signal.SIGKILL)
    port = int(run.url.rpartition(":")[2])
    await until(lambda: _can_listen(port))
    with socket.create_server(("127.0.0.1", port)):
        assert await run.status() == 1

    assert f"Cannot listen on 127.0.0.1:{port}" in run.troubles
    assert "The API ended with status 2 (see its lines above). Everything else was" in run.troubles
    assert _living(everything) == {}


def _can_listen(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


async def test_an_exchange_out_of_reach_is_reported_and_the_service_goes_on(
    up: Start, settings: Settings
) -> None:
    run = await up(QUOTES_DERIBIT_URL="http://exchange.invalid/api/v2", **servers(settings))
    await run.ready()

    await until(lambda: "./dev up --demo" in run.troubles)

    assert "The exchange at http://exchange.invalid/api/v2 cannot be reached" in run.troubles
    async with aiohttp.ClientSession() as http, http.get(f"{run.url}/healthz") as answer:
        assert answer.status == 200


async def test_a_pattern_that_matches_nothing_is_named_and_what_else_there_is_is_collected(
    up: Start,
) -> None:
    run = await up("--demo", QUOTES_TICKERS="btc_usd,*_xyz,*_eurr")
    await run.ready()

    await until(lambda: "matches *_xyz: correct QUOTES_TICKERS" in run.troubles)

    async with aiohttp.ClientSession() as http:
        client = Client(http, run.url)
        await wait(  # the API reads the list every few seconds
            lambda: client.data("{ tickers { name collected } }"),
            lambda shown: (
                {each["name"] for each in shown if each["collected"]}
                == {"btc_usd", "btc_eurr", "eth_eurr"}
            ),
        )


async def test_a_port_in_use_is_named_with_its_setting(up: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        run = await up("--demo", QUOTES_PORT=str(port))

        assert await run.status() == 2
    assert f"Port {port} on 127.0.0.1 is in use" in run.troubles
    assert "QUOTES_PORT" in run.troubles


async def test_a_data_folder_in_use_is_named_with_who_uses_it(up: Start, folder: Path) -> None:
    with hold(folder / "data" / "demo", {}):
        run = await up("--demo")

        assert await run.status() == 2
    assert f"is in use by another `quotes up` (process {os.getpid()})" in run.troubles


@pytest.mark.parametrize(("source", "words"), [("deribit", ["--demo"]), ("demo", [])])
async def test_real_and_made_up_prices_are_never_mixed(
    up: Start, settings: Settings, sessions: Sessions, source: str, words: list[str]
) -> None:
    await insert(sessions, quote(source=source))

    run = await up(*words, **servers(settings))

    assert await run.status() == 2
    assert "would mix" in run.troubles


async def test_a_database_that_is_away_is_waited_for_and_then_named_without_its_password(
    free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "_ANSWER_SECONDS", 0.2)
    url = f"postgresql://quotes:secret@127.0.0.1:{free_tcp_port}/quotes"

    with pytest.raises(PreflightError, match=r"QUOTES_DATABASE_URL") as refusal:
        await external.check_database(url, made_up=False)

    assert f"127.0.0.1:{free_tcp_port}" in str(refusal.value)
    assert "secret" not in str(refusal.value)


async def test_a_database_that_is_not_there_is_refused_at_once(settings: Settings) -> None:
    url = settings.require_database_url().replace("/quotes?", "/nothing?")

    with pytest.raises(PreflightError, match='database "nothing" does not exist'):
        await external.check_database(url, made_up=False)


async def test_a_postgresql_that_is_too_old_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "OLDEST_POSTGRES", 99)

    with pytest.raises(PreflightError, match=r"is PostgreSQL \d+; quotes needs PostgreSQL 99"):
        await external.check_database(settings.require_database_url(), made_up=False)
