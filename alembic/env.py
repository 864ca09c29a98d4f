"""Alembic's entry: one connection, one advisory lock, one transaction for each migration."""

import asyncio
import time

from alembic import context
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from quotes.database import models, store
from quotes.settings import Settings

# Any number that nothing else in this database locks: only one process migrates at a time.
MIGRATION_LOCK = 7_306_001
LOCK_TIMEOUT = 3_600.0  # seconds; a large table's migration takes minutes
LOCK_PAUSE = 0.2  # seconds

assert models.Quote.metadata is SQLModel.metadata


def take_lock(connection: Connection) -> None:
    """By asking now and then: one that waits inside a statement would hold up an index that is
    built beside the writers, and both would wait for each other."""
    ask = text("SELECT pg_try_advisory_lock(:key)")
    deadline = time.monotonic() + LOCK_TIMEOUT
    while not connection.scalar(ask, {"key": MIGRATION_LOCK}):
        connection.commit()
        if time.monotonic() > deadline:
            raise TimeoutError(f"another migration has run for {LOCK_TIMEOUT:.0f} seconds")
        time.sleep(LOCK_PAUSE)
    connection.commit()


def run(connection: Connection) -> None:
    take_lock(connection)
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
