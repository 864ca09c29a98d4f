"""Real servers for the tests: embedded ones, or those of QUOTES_TEST_DATABASE_URL and _REDIS_URL.

They start when the first test requests them; a test that needs none waits for none.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import redis
from browser import browser  # noqa: F401  # a fixture
from collected import market  # noqa: F401  # a fixture
from standby import _followed_postgres, primary, standby  # noqa: F401  # fixtures
from versions import OldestPostgres, require_oldest_postgres

from quotes.database.maintenance import migrations
from quotes.database.sessions import Sessions, open_engine
from quotes.local.embedded import Postgres, Valkey
from quotes.settings import PREFIX, Settings

FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
# Partitions too: what a test needs of them is made when it stores a quote, as it is anywhere.
EMPTY = """
    DO $$ DECLARE partition text; BEGIN
        FOR partition IN DELETE FROM partitions RETURNING name LOOP
            EXECUTE format('DROP TABLE %I', partition);
        END LOOP;
    END $$;
    TRUNCATE failures, hours, runs, backfills, heartbeats, indexes, tokens, constituents;
    UPDATE high_water SET seq = 0, retired_before = NULL, retired_seq = 0
"""


# Files of a few long tests: what begins last should not end long after all others.
FIRST = ("system", "test_client_killed.py", "test_slow_readers.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not set(FIRST) & set(item.path.parts))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI whatever a test needs has to be there: one that is skipped fails instead."""
    report = yield
    if report.skipped and "CI" in os.environ:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Nothing is skipped where CI is set. {reason}"
    return report


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server_of_the_tests() -> dict[str, str]:
    """The servers a developer named for the tests, read before the environment is cleared."""
    return {
        name: os.environ[variable]
        for name in ("DATABASE_URL", "REDIS_URL")
        if (variable := f"{PREFIX}TEST_{name}") in os.environ
    }


@pytest.fixture(scope="session", autouse=True)
def _nobodys_settings(
    server_of_the_tests: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Neither the developer's environment nor a `.env` in the current folder reaches a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
            patch.delenv(name)
        if "DATABASE_URL" not in server_of_the_tests:  # libpq's environment is of another server
            for name in [name for name in os.environ if name.startswith("PG")]:
                patch.delenv(name)
        patch.chdir(tmp_path_factory.mktemp("empty"))
        yield


def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="quotes-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that embedded servers can use also as root, who alone can enter `tmp_path`."""
    yield from _folder()


@pytest.fixture(scope="session")
def _session_folder() -> Iterator[Path]:
    yield from _folder()


@pytest.fixture(scope="session")
def _runner() -> Iterator[asyncio.Runner]:
    """A loop for what outlives a test. It runs between tests only, never beside a test's own."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        yield runner


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database. What is in it is emptied by `settings`."""
    return str(request.getfixturevalue(f"_{getattr(request, 'param', 'newest')}_postgres"))


@pytest.fixture(scope="session")
def _newest_postgres(
    _runner: asyncio.Runner, _session_folder: Path, server_of_the_tests: dict[str, str]
) -> Iterator[str]:
    if url := server_of_the_tests.get("DATABASE_URL"):
        migrations.migrate(url)
        yield url
    else:
        yield from _migrated(_runner, Postgres(_session_folder / "postgres", options=FAST))


@pytest.fixture(scope="session")
def _oldest_postgres(_runner: asyncio.Runner, _session_folder: Path) -> Iterator[str]:
    require_oldest_postgres()
    yield from _migrated(_runner, OldestPostgres(_session_folder / "oldest", options=FAST))


def _migrated(runner: asyncio.Runner, server: Postgres) -> Iterator[str]:
    runner.run(server.start())
    try:
        migrations.migrate(server.url)
        yield server.url
    finally:
        runner.run(server.stop())


@pytest.fixture
def empty_database_url(database_url: str) -> Iterator[str]:
    """A database of its own, never migrated, on the same server."""
    asyncio.run(_execute(database_url, "CREATE DATABASE never_migrated"))
    yield urlunsplit(urlsplit(database_url)._replace(path="/never_migrated"))
    asyncio.run(_execute(database_url, "DROP DATABASE never_migrated WITH (FORCE)"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


@pytest.fixture(scope="session")
def redis_url(
    _runner: asyncio.Runner, _session_folder: Path, server_of_the_tests: dict[str, str]
) -> Iterator[str]:
    if url := server_of_the_tests.get("REDIS_URL"):
        yield url
        return
    server = Valkey(_session_folder / "valkey")
    _runner.run(server.start())
    try:
        yield server.url
    finally:
        _runner.run(server.stop())


@pytest.fixture
def settings(
    _runner: asyncio.Runner, database_url: str, redis_url: str, tmp_path: Path
) -> Settings:
    """Settings for the real servers, whose tables and queues are empty."""
    return _emptied(_runner, database_url, redis_url, tmp_path)


@pytest.fixture(scope="module")
def settings_of_a_module(
    _runner: asyncio.Runner,
    database_url: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    """The same for tests that only read what their module has stored."""
    return _emptied(_runner, database_url, redis_url, tmp_path_factory.mktemp("data"))


def _emptied(runner: asyncio.Runner, database_url: str, redis_url: str, data: Path) -> Settings:
    """A query waits for its turn as long as a slow machine needs; refusals have their own tests."""
    runner.run(_empty(database_url))
    with redis.Redis.from_url(redis_url) as queue:
        queue.flushdb()
    return Settings(database_url=database_url, redis_url=redis_url, data_dir=data, query_wait=20)


async def _empty(database_url: str) -> None:
    connection = await asyncpg.connect(database_url, server_settings={"lock_timeout": "60s"})
    try:
        await connection.execute(EMPTY)
    finally:
        await connection.close()


@pytest.fixture
async def sessions(settings: Settings) -> AsyncIterator[Sessions]:
    """Sessions on the emptied database."""
    async with open_engine(settings.require_database_url(), name="test") as engine:
        yield Sessions(engine)
