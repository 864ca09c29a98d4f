import asyncio

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlmodel import SQLModel

from quotes.database import migrations, models, revisions, store


async def _revision(url: str) -> str:
    async with store.open_engine(url, name="test") as engine:
        return await migrations.current(engine)


async def _drift(url: str) -> object:
    def compare(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)

    async with store.open_engine(url, name="test") as engine, engine.connect() as connection:
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
