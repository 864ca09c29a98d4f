"""`quotes doctor` finds what is wrong, each time with a remedy, and nothing where all is well."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import redis
from pooler import needs_pgbouncer, pooling
from processes import environment
from rows import insert, minute, quote
from test_cli import quotes

from quotes.database import connections, heartbeats, indexes
from quotes.database.maintenance import revisions
from quotes.database.models import Part
from quotes.database.sessions import Sessions
from quotes.local.doctor import database, exchange, machine, run
from quotes.local.doctor.findings import Finding, State
from quotes.server.pages import Site
from quotes.settings import Settings
from workers.demo.exchange import Exchange, serve

# PgBouncer's mode, whether it ignores the start parameters it does not know, the check that fails.
POOLERS = [
    ("transaction", False, "database"),
    ("transaction", True, "listen"),
    ("session", True, None),
]


def states(found: list[Finding]) -> dict[str, State]:
    for each in found:
        assert (each.state is State.OK) == (each.remedy == ""), each
    return {each.check: each.state for each in found}


def failures(found: list[Finding]) -> set[str]:
    return {name for name, state in states(found).items() if state is State.FAILED}


def of(check: str, found: list[Finding]) -> Finding:
    (finding,) = (each for each in found if each.check == check)
    return finding


def at(url: str, settings: Settings) -> Settings:
    """The settings with another database."""
    return settings.model_copy(update={"database_url": Settings(database_url=url).database_url})


@pytest.fixture
async def collecting(sessions: Sessions) -> None:
    """A database in which a scheduler leads and quotes arrive, as it looks from outside."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    await insert(sessions, quote(at=int((now - minute(0)) / timedelta(minutes=1))))
    async with sessions.begin() as session:
        for part in Part:
            await heartbeats.beat(session, part)


@pytest.mark.usefixtures("collecting")
async def test_nothing_is_wrong_with_a_service_that_runs(settings: Settings) -> None:
    async with serve(Exchange()) as url:
        here = settings.model_copy(update={"deribit_url": url})
        found = await run.examine(here)

    page = State.OK if Site().built else State.WARNING
    assert states(found) == {
        **dict.fromkeys(("database", "listen", "encoding", "migrations"), State.OK),
        **dict.fromkeys(("worker", "scheduler"), State.OK),
        **dict.fromkeys(
            ("tickers", "prices", "retention", "redis", "exchange", "clock", "disk", "names"),
            State.OK,
        ),
        "page": page,
    }


async def test_a_database_that_nobody_collects_into_says_what_to_start(
    settings: Settings, sessions: Sessions
) -> None:
    empty = await database.examine(settings)
    await insert(sessions, quote(at=0))
    stopped = await database.examine(settings)

    assert failures(empty) == failures(stopped) == {"worker", "scheduler", "prices"}
    assert of("scheduler", empty).text.startswith("No scheduler has ever been seen")
    assert "quotes scheduler" in of("scheduler", empty).remedy
    assert of("prices", empty).text == "No price is stored yet."
    assert f"{minute(0):%Y-%m-%d %H:%M}" in of("prices", stopped).text


async def test_patterns_that_match_nothing_are_named(
    settings: Settings, sessions: Sessions
) -> None:
    async with sessions.begin() as session:
        await indexes.replace(session, ["btc_usd", "btc_usdc", "eth_usdc"])

    some = await database.examine(settings.model_copy(update={"tickers": ("eth_usd", "*_usdc")}))
    none = await database.examine(settings.model_copy(update={"tickers": ("*_usdc", "*_xyz")}))

    assert of("tickers", some).text == "QUOTES_TICKERS selects 3 tickers."
    assert of("tickers", none).state is State.WARNING
    assert "selects 2 tickers; " in of("tickers", none).text
    assert of("tickers", none).text.endswith("nothing matches *_xyz.")


async def test_tables_of_another_release_are_named_with_what_to_run(
    settings: Settings, empty_database_url: str
) -> None:
    here = at(empty_database_url, settings)
    connection = await asyncpg.connect(empty_database_url)

    none = of("migrations", await database.examine(here))
    await connection.execute("CREATE TABLE alembic_version AS SELECT '0003'::text AS version_num")
    older = of("migrations", await database.examine(here))
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    newer = of("migrations", await database.examine(here))
    await connection.close()

    assert none.remedy == older.remedy == "Run `quotes migrate`."
    assert "base" in none.text
    assert "0003" in older.text
    assert f"--revision {revisions.head()}" in newer.remedy


async def test_a_database_in_another_encoding_is_named(settings: Settings) -> None:
    url = settings.require_database_url()
    owner = await asyncpg.connect(url)
    await owner.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    try:
        other = urlunsplit(urlsplit(url)._replace(path="/ascii"))
        found = await database.examine(at(other, settings))
    finally:
        await owner.execute("DROP DATABASE ascii WITH (FORCE)")
        await owner.close()

    assert "SQL_ASCII" in of("encoding", found).text
    assert "ENCODING 'UTF8'" in of("encoding", found).remedy


async def test_a_server_that_is_too_old_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "OLDEST_POSTGRES", 99)

    (finding,) = await database.examine(settings)

    assert (finding.check, finding.state) == ("database", State.FAILED)
    assert "PostgreSQL 99 or newer" in finding.text


@needs_pgbouncer
@pytest.mark.usefixtures("collecting")
@pytest.mark.parametrize(("mode", "tolerant", "check"), POOLERS)
async def test_a_pooler_is_found_unless_it_keeps_sessions(
    settings: Settings, folder: Path, mode: str, check: str | None, *, tolerant: bool
) -> None:
    url = settings.require_database_url()
    connection = await connections.connector(url, name="test")()
    ours = await connection.fetchval(
        "SELECT string_agg(name, ',') FROM pg_settings WHERE source = 'client'"
    )
    await connection.close()

    async with pooling(url, folder, mode, ours if tolerant else "") as pooled:
        found = await database.examine(at(pooled, settings))

    assert failures(found) == ({check} if check else set())
    assert not check or "usually at port 5432" in of(check, found).remedy


async def test_a_queue_that_drops_messages_is_named(settings: Settings) -> None:
    with redis.Redis.from_url(settings.require_redis_url()) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            dropping = machine.queue(settings)
        finally:
            client.config_set("maxmemory-policy", "noeviction")

    assert dropping.remedy == "Set its maxmemory-policy to noeviction."
    assert machine.queue(settings).state is State.OK


async def test_a_queue_that_is_a_replica_is_named(settings: Settings, free_tcp_port: int) -> None:
    with redis.Redis.from_url(settings.require_redis_url()) as client:
        client.replicaof("127.0.0.1", str(free_tcp_port))
        try:
            replica = machine.queue(settings)
        finally:
            client.replicaof("NO", "ONE")

    assert replica.remedy == "Let QUOTES_REDIS_URL lead to the primary."


@pytest.mark.parametrize(
    ("seconds", "state", "words"),
    [
        (5, State.WARNING, "behind"),
        (-5, State.WARNING, "ahead of"),
        (60, State.FAILED, "prices are refused"),
    ],
)
async def test_a_clock_that_differs_from_the_exchange_s_is_to_be_set(
    settings: Settings, seconds: int, state: State, words: str
) -> None:
    moved = timedelta(seconds=seconds)
    async with serve(Exchange(clock=lambda: datetime.now(UTC) + moved)) as url:
        found = await exchange.examine(settings.model_copy(update={"deribit_url": url}))

    assert states(found) == {"exchange": State.OK, "clock": state}
    assert words in of("clock", found).text
    assert of("clock", found).remedy == "Set this host's clock, as by NTP."


async def test_an_exchange_that_cannot_be_reached_is_named(
    settings: Settings, free_tcp_port: int
) -> None:
    nobody = f"http://127.0.0.1:{free_tcp_port}/api/v2"
    async with serve(Exchange()) as url:
        for wrong in (nobody, url.replace("/v2", "/v3")):
            (found,) = await exchange.examine(settings.model_copy(update={"deribit_url": wrong}))
            assert found.state is State.FAILED
            assert f"{wrong} cannot be reached: " in found.text
            assert "HTTPS_PROXY" in found.remedy


async def test_a_full_disk_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST_FREE", shutil.disk_usage("/").total * 1_000)

    found = machine.disk(settings)

    assert (found.state, "QUOTES_DATA_DIR" in found.remedy) == (State.FAILED, True)


async def test_a_public_service_without_a_name_is_named(settings: Settings) -> None:
    public = settings.model_copy(update={"host": "0.0.0.0"})  # noqa: S104
    named = public.model_copy(update={"allowed_origins": ("https://prices.example.com",)})

    unnamed = machine.names(public)

    assert (unnamed.state, "421" in unnamed.text) == (State.WARNING, True)
    assert "QUOTES_ALLOWED_ORIGINS" in unnamed.remedy
    assert machine.names(named).state is State.OK


async def test_a_page_that_was_not_built_comes_with_the_way_to_build_it(tmp_path: Path) -> None:
    found = machine.page(Site(tmp_path))

    assert (found.state, "npm" in found.remedy) == (State.WARNING, True)


def test_the_command_fails_and_shows_no_password(settings: Settings, free_tcp_port: int) -> None:
    secret = f"hunter2@127.0.0.1:{free_tcp_port}"

    answer = quotes(
        "doctor",
        **environment(
            settings,
            QUOTES_DATABASE_URL=f"postgresql://quotes:{secret}/quotes",
            QUOTES_REDIS_URL=f"redis://:{secret}",
            QUOTES_DERIBIT_URL=f"http://127.0.0.1:{free_tcp_port}",
        ),
    )

    failed = {line.split()[1] for line in answer.stdout.splitlines() if line.startswith("FAILED")}
    assert (answer.returncode, failed) == (1, {"database", "redis", "exchange"})
    assert "The database at 127.0.0.1" in answer.stdout
    assert answer.stdout.count("-> ") >= len(failed)
    assert "hunter2" not in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_command_needs_servers_to_look_at(folder: Path) -> None:
    answer = quotes("doctor", QUOTES_DATA_DIR=str(folder))

    assert answer.returncode == 2
    assert "QUOTES_DATABASE_URL is not set" in answer.stderr
