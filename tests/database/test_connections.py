from urllib.parse import urlsplit

import pytest

from quotes.database import connections
from quotes.settings import Settings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("application_name", "quotes-test"),
        ("statement_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("TimeZone", "UTC"),
    ],
)
async def test_a_connection_has_a_name_and_each_of_its_waits_a_limit(
    settings: Settings, setting: str, value: str
) -> None:
    connection = await connections.connector(settings.require_database_url(), name="test")()

    assert await connection.fetchval("SELECT current_setting($1)", setting) == value
    await connection.close()


async def test_a_server_s_refusal_is_one_of_the_ways_to_be_lost(settings: Settings) -> None:
    nowhere = urlsplit(settings.require_database_url())._replace(path="/nowhere").geturl()

    with pytest.raises(connections.LOST):
        await connections.connector(nowhere, name="test")()
