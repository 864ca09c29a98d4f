"""What `quotes doctor` reads of a database server."""

import asyncio
import secrets
from dataclasses import dataclass

import asyncpg
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.connections import Connect

NOTIFY_TIMEOUT = 3.0  # seconds for a notification to arrive
# What a statement meets that was prepared on another connection of a pooler's.
_ELSEWHERE = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)

_SERVER = text("""
    SELECT current_setting('server_version_num')::int / 10000 AS major,
           current_setting('server_encoding') AS encoding,
           pg_size_pretty(pg_database_size(current_database())) AS size
""")


@dataclass(frozen=True, slots=True)
class Server:
    """One database and the server that holds it."""

    major: int
    encoding: str  # PostgreSQL's name, as UTF8
    size: str  # for people


async def server(session: AsyncSession) -> Server:
    row = (await (await session.connection()).execute(_SERVER)).one()
    return Server(row.major, row.encoding, row.size)


_CLUSTER = """
    SELECT (SELECT system_identifier FROM pg_control_system()), pg_is_in_recovery(),
           current_setting('hot_standby_feedback')::boolean
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a primary and its standbys have in common, and what they differ in."""

    identifier: int  # the same of all of them, and of no other
    in_recovery: bool  # a standby
    feedback: bool  # a standby reports to its primary which rows its queries still need


async def cluster(connect: Connect) -> Cluster:
    """Raises the driver's exceptions."""
    connection = await connect()
    try:
        return Cluster(*await connection.fetchrow(_CLUSTER))
    finally:
        connection.terminate()


async def notifies(connect: Connect) -> bool:
    """Whether a notification arrives at a connection that listens, as an API's does."""
    channel = f"quotes_doctor_{secrets.token_hex(8)}"
    arrived = asyncio.Event()
    listening = await connect()
    try:
        notifying = await connect()
        try:
            await listening.add_listener(channel, lambda *_: arrived.set())
            await notifying.execute(f"NOTIFY {channel}")
            async with asyncio.timeout(NOTIFY_TIMEOUT):
                await arrived.wait()
        finally:
            notifying.terminate()
    except (TimeoutError, *_ELSEWHERE):
        return False
    else:
        return True
    finally:
        listening.terminate()
