"""Signs of life of the processes that collect: one row for all workers, one for the scheduler.

By the database's clock alone, whatever those of the hosts show.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.models import Part

EVERY = 10.0  # seconds between two heartbeats of a process


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life of a part."""

    age: timedelta
    problem: str | None = None  # what keeps it from its work, as a sentence


# For the driver's own parameters: the part, and its problem or NULL.
BEAT = """
    INSERT INTO heartbeats (part, seen_at, problem) VALUES ($1, clock_timestamp(), $2)
    ON CONFLICT (part) DO UPDATE SET seen_at = excluded.seen_at, problem = excluded.problem
"""
_LAST = text("SELECT part, clock_timestamp() - seen_at AS age, problem FROM heartbeats")


async def beat(session: AsyncSession, part: Part) -> None:
    await (await session.connection()).exec_driver_sql(BEAT, (part.value, None))


async def last(session: AsyncSession) -> dict[Part, Heartbeat]:
    """Of each part that was ever seen."""
    rows = (await (await session.connection()).execute(_LAST)).all()
    return {Part(row.part): Heartbeat(row.age, row.problem) for row in rows}
