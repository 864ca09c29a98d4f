"""A cause is the truth: only a database that cannot be reached is unavailable."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import asyncpg
import pytest
from rows import insert, quote, wait
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database import connections
from quotes.database.errors import (
    BusyError,
    ConflictError,
    DatabaseError,
    RejectedError,
    UnavailableError,
    error_of,
    translated,
)
from quotes.database.log import store
from quotes.database.sessions import Sessions, open_engine
from quotes.settings import Settings

Run = Callable[[str], Awaitable[object]]


@pytest.fixture(params=["SQLAlchemy", "asyncpg"])
async def run(
    request: pytest.FixtureRequest, settings: Settings, sessions: Sessions
) -> AsyncIterator[Run]:
    """Runs a statement by either of the ways that statements are run."""
    if request.param == "SQLAlchemy":

        async def run(statement: str) -> object:
            async with sessions() as session:
                return await (await session.connection()).execute(text(statement))

        yield run
        return
    connection = await connections.connector(settings.require_database_url(), name="test")()

    async def run_plain(statement: str) -> object:
        with translated():
            return await connection.execute(statement)

    yield run_plain
    connection.terminate()


CAUSES = {
    "SELECT nonsense(": (RejectedError, "syntax error"),
    "SELECT 1 / 0": (RejectedError, "division by zero"),
    "SELECT * FROM no_such_table": (RejectedError, "quotes migrate"),
    "SELECT no_such_column FROM quotes": (RejectedError, "quotes migrate"),
    "INSERT INTO high_water VALUES (2, 0)": (RejectedError, "high_water_one_row"),
    "DO $$BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'could not extend file'; END$$": (
        RejectedError,
        "disk of the database is full",
    ),
    "DO $$BEGIN RAISE SQLSTATE '25006' USING MESSAGE = 'cannot execute INSERT'; END$$": (
        RejectedError,
        "read-only",
    ),
    "DO $$BEGIN RAISE SQLSTATE '40001' USING MESSAGE = 'could not serialize'; END$$": (
        ConflictError,
        "could not serialize",
    ),
    "DO $$BEGIN RAISE SQLSTATE '40P01' USING MESSAGE = 'deadlock detected'; END$$": (
        ConflictError,
        "deadlock",
    ),
    "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(20)": (BusyError, "cancelled"),
    "DO $$BEGIN RAISE SQLSTATE '53300' USING MESSAGE = 'too many clients'; END$$": (
        UnavailableError,
        "too many clients",
    ),
    "DO $$BEGIN RAISE SQLSTATE '57P03' USING MESSAGE = 'starting up'; END$$": (
        UnavailableError,
        "starting up",
    ),
    "SELECT pg_terminate_backend(pg_backend_pid())": (UnavailableError, "cannot be reached"),
}


@pytest.mark.parametrize("statement", CAUSES)
async def test_each_cause_is_what_it_is(run: Run, statement: str) -> None:
    kind, words = CAUSES[statement]

    with pytest.raises(DatabaseError, match=words) as raised:
        await run(statement)

    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql://nobody@127.0.0.1:1/none", UnavailableError),
        ("postgresql://nobody@/none?host=/nowhere", UnavailableError),
        ("no such database", RejectedError),
    ],
)
async def test_a_connection_that_cannot_be_opened_is_what_keeps_it(
    settings: Settings, url: str, kind: type[DatabaseError]
) -> None:
    if url == "no such database":
        url = urlsplit(settings.require_database_url())._replace(path="/nowhere").geturl()

    async with open_engine(url, name="test") as engine:
        with pytest.raises(kind):
            async with Sessions(engine)() as session:
                await store.high_water(session)
    with pytest.raises(kind), translated():
        await connections.connector(url, name="test")()


async def test_a_closed_connection_is_unavailable(settings: Settings) -> None:
    connection = await connections.connector(settings.require_database_url(), name="test")()
    await connection.close()

    with pytest.raises(UnavailableError), translated():
        await connection.fetchval("SELECT 1")


async def test_a_connection_that_is_being_closed_by_the_server_is_unavailable(
    settings: Settings,
) -> None:
    connection = await connections.connector(settings.require_database_url(), name="test")()
    fields = b"SFATAL\0C57P01\0Mterminating connection\0\0"
    last_message = b"E" + (len(fields) + 4).to_bytes(4) + fields
    # The end of the connection follows, in a later round of the event loop:
    connection._protocol.data_received(last_message)

    with pytest.raises(UnavailableError), translated():
        await connection.fetchval("SELECT 1")
    connection.terminate()


async def test_a_connection_used_twice_at_once_is_a_fault_of_ours(settings: Settings) -> None:
    connection = await connections.connector(settings.require_database_url(), name="test")()
    first = asyncio.create_task(connection.fetchval("SELECT pg_sleep(20)"))
    await asyncio.sleep(0)

    with pytest.raises(RejectedError), translated():
        await connection.fetchval("SELECT 1")

    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    connection.terminate()


async def test_a_full_pool_is_busy_and_no_outage(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT", 0.1)
    async with open_engine(settings.require_database_url(), name="test", size=1) as engine:
        sessions = Sessions(engine)
        async with sessions() as holder:
            await store.high_water(holder)

            with pytest.raises(BusyError):
                async with sessions() as session:
                    await store.high_water(session)


def test_what_is_no_error_of_the_database_stays_what_it_is() -> None:
    assert error_of(ValueError("no")) is None
    with pytest.raises(ValueError, match="no"), translated():
        raise ValueError("no")


async def test_a_transaction_in_another_s_way_is_tried_again(sessions: Sessions) -> None:
    attempts = 0

    async def work(session: AsyncSession) -> int:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ConflictError("deadlock detected")
        return await store.high_water(session)

    assert await sessions.transact(work) == 0
    assert attempts == 3


async def test_a_transaction_that_is_always_in_another_s_way_ends(
    sessions: Sessions,
) -> None:
    attempts = 0

    async def work(session: AsyncSession) -> None:
        nonlocal attempts
        attempts += 1
        raise ConflictError("deadlock detected")

    with pytest.raises(ConflictError):
        await sessions.transact(work)
    assert attempts == 5


async def test_writers_queue_whatever_isolation_their_role_has_by_default(
    settings: Settings,
) -> None:
    """At 'repeatable read' the second would fail: the counter changed since its snapshot."""
    url = settings.require_database_url()
    admin = await asyncpg.connect(url)
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(
        f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'"
    )
    try:
        async with open_engine(url, name="test") as engine:
            sessions = Sessions(engine)
            async with sessions.begin() as first:
                await store.insert(first, [quote(at=1)])
                second = asyncio.create_task(insert(sessions, quote(at=2)))
                await wait(lambda: _waits(admin), bool)

            assert await second == 1
    finally:
        await admin.execute(f'ALTER DATABASE "{name}" RESET default_transaction_isolation')
        await admin.close()


async def _waits(admin: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Whether the second writer waits for the first one's lock."""
    many: int = await admin.fetchval(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'quotes-test' AND wait_event_type = 'Lock'"
    )
    return many > 0
