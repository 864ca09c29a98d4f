"""`quotes doctor` tells whether the replica is a standby of the database."""

from pathlib import Path

from standby import FAST, Standby, with_replica, with_standby
from test_doctor import of

from quotes.local.doctor import replica
from quotes.local.doctor.findings import State
from quotes.local.embedded import Postgres
from quotes.settings import Settings

pytestmark = with_standby


async def test_a_standby_without_feedback_is_named_with_what_to_set(
    settings: Settings, standby: Standby
) -> None:
    own = with_replica(settings, standby.url)

    found = of("replica", await replica.examine(own))
    assert found.state is State.WARNING
    assert "hot_standby_feedback" in found.remedy

    await standby.fetch("ALTER SYSTEM SET hot_standby_feedback = on")
    await standby.fetch("SELECT pg_reload_conf()")
    assert of("replica", await replica.examine(own)).state is State.OK


async def test_what_is_no_standby_of_the_database_is_named(
    settings: Settings, primary: Postgres, standby: Standby, folder: Path
) -> None:
    for url, text in [
        (primary.url, "accepts writes"),
        ("postgresql://nobody:secret@127.0.0.1:1/none", "127.0.0.1:1 cannot be used"),
    ]:
        found = of("replica", await replica.examine(with_replica(settings, url)))
        assert found.state is State.FAILED
        assert text in found.text
        assert "secret" not in found.text

    other = Postgres(folder / "other", options=FAST)
    await other.start()
    try:
        own = Settings(database_url=other.url, replica_url=standby.url)
        assert "standby of another one" in of("replica", await replica.examine(own)).text
    finally:
        await other.stop()


async def test_without_a_replica_there_is_nothing_to_find(settings: Settings) -> None:
    assert await replica.examine(settings) == []
