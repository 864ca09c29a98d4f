"""A standby of an embedded server, which streams and replays what the primary commits."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from rows import wait

from quotes.database.maintenance import migrations
from quotes.local.binaries import PostgresPrograms
from quotes.local.embedded import Postgres
from quotes.settings import Settings

# As `pytestmark` of a file: its tests run on a primary that has a `standby`.
with_standby = pytest.mark.parametrize("database_url", ["followed"], indirect=True, scope="session")
# As conftest's FAST, but a commit is sent to the standby at once.
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "local"}


class Standby(Postgres):
    """Its data is a base backup of the primary's."""

    def __init__(self, folder: Path, primary: Postgres) -> None:
        super().__init__(folder, options=FAST)
        self._primary = primary
        self._frozen: list[int] = []

    async def _make_data(self, programs: PostgresPrograms) -> None:
        unfinished = self.folder / "data.new"
        where: list[str | Path] = ["--host", self._primary.sockets, "--username", "quotes"]
        how: list[str | Path] = [
            "--write-recovery-conf",
            "--checkpoint",
            "fast",
            "--pgdata",
            unfinished,
        ]
        await self._run_to_its_end([programs.folder / "pg_basebackup", *where, *how])
        unfinished.rename(self._data)

    async def freeze(self) -> None:
        """From here on it answers nothing, and its connections stay open."""
        pids = await self.fetch("SELECT array_agg(pid) FROM pg_stat_activity")
        assert self.process is not None
        self._frozen = [self.process.child.pid, *pids]
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def crash(self) -> None:
        """Frozen as it is, it dies at once, and its connections end."""
        self._signal(signal.SIGKILL)
        await self.wait()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._frozen:
            with suppress(ProcessLookupError):  # the connection that asked for them has ended
                os.kill(pid, number)

    async def fetch(self, statement: str) -> Any:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def pause(self) -> None:
        """From here on it replays nothing, and answers as of now."""
        await self.fetch("SELECT pg_wal_replay_pause()")
        state = "SELECT pg_get_wal_replay_pause_state()"
        await wait(lambda: self.fetch(state), lambda found: found == "paused")

    async def resume(self) -> None:
        await self.fetch("SELECT pg_wal_replay_resume()")


@pytest.fixture(scope="session")
def primary(_runner: asyncio.Runner, _session_folder: Path) -> Iterator[Postgres]:
    """A server of its own, whose database `settings` and `sessions` are of."""
    server = Postgres(_session_folder / "primary", options=FAST)
    _runner.run(server.start())
    try:
        migrations.migrate(server.url)
        yield server
    finally:
        _runner.run(server.stop())


@pytest.fixture(scope="session")
def _followed_postgres(primary: Postgres) -> str:
    return primary.url


@pytest.fixture
async def standby(settings: Settings, primary: Postgres, folder: Path) -> AsyncIterator[Standby]:
    """One that has all of the primary's."""
    server = Standby(folder / "standby", primary)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def with_replica(settings: Settings, url: str) -> Settings:
    return Settings(**{**settings.model_dump(), "replica_url": url})
