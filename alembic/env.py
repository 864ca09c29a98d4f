"""Alembic's entry: one connection, one advisory lock, one transaction for each migration."""

import asyncio
import time

from alembic import context
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from quotes.database import connections, models
from quotes.database.errors import BusyError
from quotes.database.maintenance import migrations
from quotes.database.sessions import open_engine
from quotes.settings import Settings

LOCK_PAUSE = 0.2  # seconds

assert models.Quote.metadata is SQLModel.metadata


def take_lock(connection: Connection) -> None:
    """Poll for the lock. Raises BusyError after the time limit.

    Waiting inside a statement would deadlock with a concurrent index build, which waits for every
    older transaction.
    """
    attempt = text("SELECT pg_try_advisory_lock(:key)")
    seconds = context.config.attributes.get("lock_timeout", migrations.LOCK_TIMEOUT)
    deadline = time.monotonic() + seconds
    while not connection.scalar(attempt, {"key": connections.MIGRATION_LOCK}):
        connection.commit()
        if time.monotonic() > deadline:
            raise BusyError(
                f"another migration holds the lock, and has not finished within {seconds:,.0f} "
                "seconds; look for it in pg_stat_activity, where it is named quotes-migrate"
            )
        time.sleep(LOCK_PAUSE)
    connection.commit()


def run(connection: Connection) -> None:
    take_lock(connection)
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        include_object=migrations.is_known,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect() -> None:
    url = context.config.attributes.get("database_url") or Settings.load().require_database_url()
    async with (
        open_engine(url, name="migrate", statement_timeout=None) as engine,
        engine.connect() as connection,
    ):
        await connection.run_sync(run)


asyncio.run(connect())
