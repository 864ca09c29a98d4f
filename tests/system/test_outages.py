"""Processes whose database is unavailable, or whose loops die: what they log, and how they end."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from client import connected
from rows import until, wait

from quotes.database import connections, outages
from quotes.database.errors import UnavailableError
from quotes.database.maintenance import migrations
from quotes.database.sessions import Sessions, open_engine
from quotes.live import feed
from quotes.live.fan_out import open_fan_out
from quotes.local.embedded import Postgres
from quotes.settings import Settings

FEW = 20  # lines; each kind of trouble writes one a minute
LATEST = '{ latestPrice(ticker: "BTC") { price } }'
FEED_THAT_DIES = """
from quotes import logs
from quotes.live.feed import Feed
from quotes.server import process
from quotes.settings import Settings

async def run(self):
    raise RuntimeError("broken on purpose")

Feed.run = run
settings = Settings.load()
logs.configure("json", process="api")
process.serve(settings)
"""


@asynccontextmanager
async def python(
    *words: str, log: Path, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", *words),
            env={"PATH": "", "QUOTES_LOG_FORMAT": "json", **environment},
            stderr=file,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_an_api_without_its_database_waits_writes_little_and_serves_when_it_is_there(
    folder: Path, free_tcp_port_factory: Any
) -> None:
    port, database_port = free_tcp_port_factory(), free_tcp_port_factory()
    postgres = Postgres(folder / "postgres", port=database_port, options={"fsync": "off"})
    log = folder / "log"
    api = python(
        *("-m", "quotes", "api"),
        log=log,
        QUOTES_DATABASE_URL=postgres.url,
        QUOTES_PORT=str(port),
    )
    async with api as process, connected(f"http://127.0.0.1:{port}") as client:
        await until(lambda: "api_ready" in log.read_text(), seconds=60)
        for _ in range(20):
            code, _ = await client.refusal(LATEST)
            assert code == "UNAVAILABLE"
            assert (await client.report("/readyz"))[0] == 503
        assert (await client.report("/healthz"))[0] == 200
        await postgres.start()
        try:
            await asyncio.to_thread(migrations.migrate, postgres.url)
            await wait(lambda: client.report("/readyz"), lambda report: report[0] == 200)
        finally:
            await postgres.stop()
        process.terminate()
        assert await process.wait() == 0

    written = events(log)
    assert len(written) <= FEW, [each["event"] for each in written]
    assert {"database_unavailable", "database_available"} <= {each["event"] for each in written}
    assert all(each["process"] == "api" for each in written)


async def test_subscribers_to_the_feed_wait_as_long_as_its_database_is_unavailable(
    free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "READ_TIMEOUT", 0.05)
    url = f"postgresql://quotes@127.0.0.1:{free_tcp_port}/quotes"
    ended: list[asyncio.Task[None]] = []
    async with (
        open_engine(url, name="test") as engine,
        feed.open_feed(
            Sessions(engine),
            connections.connector(url, name="feed"),
            Sessions(engine),
        ) as (tail, _),
        open_fan_out(tail, ended=ended.append),
    ):
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await tail.position()

        assert not ended


def test_a_cause_that_stays_is_logged_when_it_begins_and_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outage = outages.Outage("test")

    with structlog.testing.capture_logs() as written:
        outage.failed(UnavailableError("no route"))
        outage.failed(UnavailableError("no route"))
        assert len(written) == 1
        monkeypatch.setattr(outages, "REMIND", 0.0)
        outage.failed(UnavailableError("no route"))
        outage.recovered()

    assert [each["event"] for each in written] == [
        *("database_unavailable", "database_unavailable", "database_available")
    ]


async def test_a_loop_that_dies_ends_its_process_with_a_status_that_is_not_0(
    settings: Settings, tmp_path: Path, free_tcp_port: int
) -> None:
    api = python(
        *("-c", FEED_THAT_DIES),
        log=tmp_path / "log",
        QUOTES_DATABASE_URL=settings.require_database_url(),
        QUOTES_PORT=str(free_tcp_port),
    )
    async with api as process, asyncio.timeout(60):
        assert await process.wait() == 1

    (died,) = (each for each in events(tmp_path / "log") if each["event"] == "loop_ended")
    assert (died["loop"], died["reason"]) == ("feed", "broken on purpose")


async def test_an_api_whose_settings_cannot_work_ends_with_the_reason_in_a_sentence(
    tmp_path: Path, free_tcp_port: int
) -> None:
    api = python(
        *("-m", "quotes", "api"),
        log=tmp_path / "log",
        QUOTES_DATABASE_URL="postgresql://",
        QUOTES_PORT=str(free_tcp_port),
        PGPORT="abc",
    )
    async with api as process, asyncio.timeout(60):
        assert await process.wait() == 2

    # The feed, or health's own check, or both: whichever connects first.
    ended = [each for each in events(tmp_path / "log") if each["event"] == "loop_ended"]
    assert ended
    assert all("PGPORT" in each["reason"] and "exception" not in each for each in ended)
