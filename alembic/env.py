"""Alembic's entry: one connection, one advisory lock, one transaction for each migration."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from quotes.database import models, store
from quotes.settings import Settings

# Any number that nothing else in this database locks: only one process migrates at a time.
MIGRATION_LOCK = 7_306_001

assert models.Quote.metadata is SQLModel.metadata


def run(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect() -> None:
    url = context.config.attributes.get("database_url") or Settings.load().require_database_url()
    async with (
        store.open_engine(url, name="migrate", statement_timeout=None) as engine,
        engine.connect() as connection,
    ):
        await connection.run_sync(run)


asyncio.run(connect())
