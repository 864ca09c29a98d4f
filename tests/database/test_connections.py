import asyncio
from pathlib import Path

import pytest
from versions import on_each_postgres

from quotes.database import connections
from quotes.settings import Settings, SettingsError

pytestmark = on_each_postgres


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("application_name", "quotes-test"),
        ("statement_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("TimeZone", "UTC"),
        ("default_transaction_isolation", "read committed"),
    ],
)
async def test_a_connection_has_a_name_and_each_of_its_waits_a_limit(
    settings: Settings, setting: str, value: str
) -> None:
    connection = await connections.connector(settings.require_database_url(), name="test")()

    assert await connection.fetchval("SELECT current_setting($1)", setting) == value
    await connection.close()


async def test_parameters_that_only_libpq_knows_do_no_harm(
    settings: Settings, tmp_path: Path
) -> None:
    url = settings.require_database_url()
    more = f"connect_timeout=10&keepalives=1&gssencmode=disable&passfile={tmp_path}/none"

    connection = await connections.connector(f"{url}&{more}", name="test")()

    assert await connection.fetchval("SELECT current_setting('application_name')") == "quotes-test"
    await connection.close()


async def test_a_pool_opens_its_connections_when_they_are_needed_and_no_more_than_its_size(
    settings: Settings,
) -> None:
    async with connections.open_pool(settings.require_database_url(), name="test", size=2) as pool:
        assert pool.get_size() == 0

        found = await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(10)))

        assert found == [1] * 10
        assert pool.get_size() <= 2


async def test_a_pool_is_opened_while_its_database_is_away(database_url: str) -> None:
    away = "postgresql://nobody@127.0.0.1:1/none"

    async with connections.open_pool(away, name="test", size=2) as pool:
        with pytest.raises(ConnectionRefusedError):
            await pool.fetchval("SELECT 1")


@pytest.mark.usefixtures("database_url")  # which this file's mark names
async def test_a_url_that_can_never_work_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPORT", "abc")
    connect = connections.connector("postgresql://", name="test", variable="QUOTES_REPLICA_URL")

    with pytest.raises(SettingsError, match=r"^QUOTES_REPLICA_URL cannot be used"):
        await connect()
