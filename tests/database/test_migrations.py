import asyncio

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlmodel import SQLModel
from versions import on_each_postgres

from quotes.database import connections, models
from quotes.database.errors import BusyError
from quotes.database.maintenance import migrations, revisions
from quotes.database.sessions import open_engine

pytestmark = on_each_postgres


async def _revision(url: str) -> str:
    async with open_engine(url, name="test") as engine:
        return await migrations.current(engine)


async def _drift(url: str) -> object:
    def compare(connection: Connection) -> object:
        known = {"include_object": migrations.is_known}
        context = MigrationContext.configure(connection, opts=known)
        return compare_metadata(context, SQLModel.metadata)

    async with open_engine(url, name="test") as engine, engine.connect() as connection:
        return await connection.run_sync(compare)


def test_migrations_go_up_and_down_and_up_again(empty_database_url: str) -> None:
    migrations.migrate(empty_database_url)
    assert asyncio.run(_revision(empty_database_url)) == revisions.head()

    migrations.migrate(empty_database_url, migrations.NOTHING)
    assert asyncio.run(_revision(empty_database_url)) == migrations.NOTHING

    migrations.migrate(empty_database_url)
    migrations.migrate(empty_database_url)
    assert asyncio.run(_revision(empty_database_url)) == revisions.head()


def test_the_models_and_the_migrated_tables_do_not_differ(empty_database_url: str) -> None:
    migrations.migrate(empty_database_url)

    assert models.Quote.metadata is SQLModel.metadata
    assert asyncio.run(_drift(empty_database_url)) == []


def test_a_server_that_is_too_old_is_not_migrated(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "OLDEST_POSTGRES", 99)

    with pytest.raises(connections.UnsupportedServerError, match="needs PostgreSQL 99 or newer"):
        migrations.migrate(empty_database_url)


def test_a_migration_waits_a_limited_time_for_another(empty_database_url: str) -> None:
    async def migrate_beside_another() -> None:
        other = await asyncpg.connect(empty_database_url)
        try:
            await other.execute("SELECT pg_advisory_lock(7306001)")
            await asyncio.to_thread(migrations.migrate, empty_database_url, lock_timeout=0.1)
        finally:
            await other.close()

    with pytest.raises(BusyError, match="another migration holds the lock"):
        asyncio.run(migrate_beside_another())
