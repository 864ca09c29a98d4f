"""Embedded servers, each in a folder of its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import redis
from rows import until

from quotes.local import binaries, processes, server
from quotes.local.embedded import EmbeddedError, Postgres, Valkey
from quotes.local.preflight import PreflightError
from quotes.local.running import hold

# What a killed server had written is safe in the machine's memory. Not so with
# synchronous_commit=off: it answers a commit before it writes.
FAST = {"fsync": "off", "full_page_writes": "off"}


@pytest.fixture
async def postgres(folder: Path) -> AsyncIterator[Postgres]:
    started = Postgres(folder / "postgres", options=FAST)
    await started.start()
    try:
        yield started
    finally:
        await started.stop()


@pytest.fixture
async def valkey(folder: Path) -> AsyncIterator[Valkey]:
    started = Valkey(folder / "valkey")
    await started.start()
    try:
        yield started
    finally:
        await started.stop()


async def run(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_what_was_committed_outlives_the_kill_of_postgresql(postgres: Postgres) -> None:
    await run(postgres.url, "CREATE TABLE numbers AS SELECT 7306 AS number")

    postgres.kill()
    assert await postgres.wait() == -9
    await postgres.start()

    assert await run(postgres.url, "SELECT number FROM numbers") == 7306


async def test_what_was_queued_outlives_the_kill_of_valkey(valkey: Valkey) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.rpush("queue", "message")

    valkey.kill()
    await valkey.wait()
    await valkey.start()

    with redis.Redis.from_url(valkey.url) as client:
        assert client.lpop("queue") == b"message"


async def test_a_port_makes_a_server_of_tcp_on_this_machine(
    folder: Path, free_tcp_port: int
) -> None:
    postgres = Postgres(folder / "postgres", port=free_tcp_port, options=FAST)
    await postgres.start()

    try:
        assert f"@127.0.0.1:{free_tcp_port}/quotes" in postgres.url
        assert await run(postgres.url, "SELECT 1") == 1
    finally:
        await postgres.stop()


async def test_a_path_too_long_for_a_socket_gets_a_short_one(folder: Path) -> None:
    valkey = Valkey(folder / ("long name " * 12) / "valkey")
    await valkey.start()

    try:
        with redis.Redis.from_url(valkey.url) as client:
            assert client.ping()
    finally:
        await valkey.stop()
    assert not valkey.sockets.exists()


async def test_a_first_start_that_was_interrupted_is_done_again(folder: Path) -> None:
    (folder / "postgres" / "data.new").mkdir(parents=True)
    (folder / "postgres" / "data.new" / "PG_VERSION").write_text("half a database")
    postgres = Postgres(folder / "postgres", options=FAST)

    await postgres.start()

    try:
        assert await run(postgres.url, "SELECT current_database()") == "quotes"
    finally:
        await postgres.stop()


async def test_a_stale_pid_file_holds_nothing_though_its_number_is_in_use(
    postgres: Postgres,
) -> None:
    await postgres.stop()
    other = await processes.start("other", ["/bin/sleep", "60"], user=postgres.user)
    pid_file = postgres.folder / "data" / "postmaster.pid"
    pid_file.write_text(f"{other.child.pid}\n{postgres.folder}/data\n")

    try:
        await postgres.start()
    finally:
        await other.stop()

    assert await run(postgres.url, "SELECT 1") == 1


async def test_a_folder_that_a_server_runs_in_is_refused(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_LOCK_SECONDS", 0.1)

    with pytest.raises(EmbeddedError, match=r"is in use by another Valkey.*QUOTES_DATA_DIR"):
        await Valkey(valkey.folder).start()

    with redis.Redis.from_url(valkey.url) as client:
        assert client.ping()


async def test_data_of_another_version_is_refused_with_both_versions_named(
    postgres: Postgres,
) -> None:
    await postgres.stop()
    (postgres.folder / "data" / "PG_VERSION").write_text("9\n")

    with pytest.raises(EmbeddedError, match=r"was written by PostgreSQL 9, and this machine has"):
        await postgres.start()


async def test_a_server_that_does_not_start_shows_the_end_of_its_log(folder: Path) -> None:
    valkey = Valkey(folder / "valkey", options={"no-such-setting": "on"})

    with pytest.raises(EmbeddedError, match=r"(?s)Valkey did not start.*no-such-setting"):
        await valkey.start()


async def test_a_missing_program_is_named_with_the_way_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "valkey", lambda: None)

    with pytest.raises(EmbeddedError, match=r"No Valkey was found.*`embedded`.*QUOTES_REDIS_URL"):
        await Valkey(folder / "valkey").start()


async def test_a_start_given_up_half_way_leaves_no_server(folder: Path) -> None:
    postgres = Postgres(folder / "postgres", options=FAST)
    starting = asyncio.create_task(postgres.start())
    await until((folder / "postgres" / "data.new").exists)

    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)

    await postgres.start()
    await postgres.stop()
    assert not (folder / "postgres" / "data" / "postmaster.pid").exists()


def test_a_data_folder_is_held_by_one_supervisor_at_a_time(folder: Path) -> None:
    with hold(folder, {}), pytest.raises(PreflightError, match="is in use by another"):  # noqa: SIM117
        with hold(folder, {}):
            pass

    with hold(folder, {}):
        pass  # free again


async def test_programs_that_the_servers_user_cannot_reach_are_copied_once(folder: Path) -> None:
    programs = binaries.postgres()[0]
    first = binaries.copy_postgres(programs, folder / "programs")
    written = (first.folder / "postgres").stat().st_mtime_ns

    second = binaries.copy_postgres(programs, folder / "programs")

    assert second == first
    assert (second.folder / "postgres").stat().st_mtime_ns == written
    initdb = await processes.start(
        "initdb", [first.folder / "initdb", "--version"], log=folder / "log"
    )
    assert await initdb.wait() == 0


@pytest.mark.parametrize("name", ["a,b", "d\"q 'r' $HOME`ls`", "100%25 grüße\\ a=b&c@d:1?#"])
async def test_a_folder_of_any_name_will_do(name: str, folder: Path) -> None:
    postgres = Postgres(folder / name / "postgres", options=FAST)
    valkey = Valkey(folder / name / "valkey")
    await postgres.start()
    await valkey.start()

    try:
        assert await run(postgres.url, "SELECT 1") == 1
        with redis.Redis.from_url(valkey.url) as client:
            assert client.ping()
    finally:
        await valkey.stop()
        await postgres.stop()


async def test_programs_that_initdb_could_not_run_are_refused_in_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a$b").symlink_to(binaries.postgres()[0].folder)
    programs = binaries.PostgresPrograms("18.4", folder / "a$b")
    monkeypatch.setattr(binaries, "postgres", lambda: [programs])

    with pytest.raises(EmbeddedError, match=r"cannot be set up by .*a\$b: .* QUOTES_DATA_DIR"):
        await Postgres(folder / "postgres").start()


async def test_libpq_s_environment_does_not_reach_a_server_of_ours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        "PGHOST": "nowhere.invalid",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "5999",
        "PGUSER": "nobody",
        "PGDATABASE": "nothing",
        "PGPASSFILE": "/dev/null/none",
        "PGSERVICE": "none",
        "PGSSLMODE": "verify-full",
        "PGSSLNEGOTIATION": "direct",
        "PGTARGETSESSIONATTRS": "standby",
        "PGGSSLIB": "none",
        "PGOPTIONS": "-c nonsense=1",
        "PGDATA": "/nowhere",
        "PGDATESTYLE": "nonsense",
        "PGCLIENTENCODING": "nonsense",
        "PGTZ": "nonsense",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    postgres = Postgres(folder / "postgres", options=FAST)
    await postgres.start()

    try:
        assert await run(postgres.url, "SELECT current_user || '@' || current_database()") == (
            "quotes@quotes"
        )
    finally:
        await postgres.stop()
