"""Compaction: the quotes of a month that is over, rewritten in the order of its key.

They came minute by minute, each of a ticker's in another page. In the order of the key a day is a
few pages, one after the other; so the key's index needs no columns, and is full.

Each function runs in the transaction of the session it is given, and never commits. All of a
partition is done in one: whatever ends it, nothing is left behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Text, bindparam, inspect, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.connections import COMPACTION_LOCK
from quotes.database.log import partitions, store
from quotes.database.log.retention import LOCK_TIMEOUT
from quotes.database.models import Partition, Quote

SETTLED = timedelta(days=2)  # after which missed minutes are no longer repaired


class ChangedError(Exception):
    """Quotes were deleted or changed after they had been copied."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A partition's quotes with seq <= upto, in a table that only this transaction sees."""

    of: str
    changes: int  # counted before
    bounds: str  # as ATTACH PARTITION takes them
    upto: int
    count: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    @property
    def name(self) -> str:
        """Not the partition's: a dump that began before then fails instead of finding it empty."""
        return f"{self.of}_compacted"


async def due(session: AsyncSession, now: datetime) -> Sequence[str]:
    """The partitions that are over and not compacted, the oldest first."""
    over = col(Partition.until) <= now - SETTLED
    query = select(Partition.name).where(over, col(Partition.compacted_at).is_(None))
    return (await session.exec(query.order_by(col(Partition.until)))).all()


_LOCK = text(f"SELECT pg_try_advisory_xact_lock({COMPACTION_LOCK})")
# What is stored later has a higher seq, since seq follows the order of commits.
_BEGIN = text(
    """
    SELECT changes, pg_get_expr(relpartbound, oid) AS bounds, seq AS upto,
           pg_get_partition_constraintdef(oid) AS condition
    FROM high_water, partitions JOIN pg_class ON oid = to_regclass(name)
    WHERE name = :name AND compacted_at IS NULL
    """
).bindparams(bindparam("name", type_=Text))
_COLUMNS = ", ".join(column.name for column in inspect(Quote).columns)
_PREPARE = (
    # A worker that stops halfway must not hold the counter for as long as a statement may take.
    "SET LOCAL idle_in_transaction_session_timeout = '10s'",
    "SET LOCAL max_parallel_maintenance_workers = 0",  # what computes besides needs cores, too
    partitions.TABLE,
    # So that it is attached without being read.
    "ALTER TABLE {name} ADD CONSTRAINT {name}_bounds CHECK ({condition})",
)
_FILL = """
    INSERT INTO {name} ({columns})
    SELECT {columns} FROM {of} WHERE seq <= {upto} ORDER BY ticker, minute
"""
_FINISH = (partitions.KEY + " WITH (fillfactor = 100)", *partitions.INDEXES, "ANALYZE {name}")
_SIZE = text("SELECT pg_total_relation_size(to_regclass(:name))").bindparams(
    bindparam("name", type_=Text)
)


async def fill(session: AsyncSession, name: str) -> Copy | None:
    """Copy a partition, beside readers and writers: minutes for tens of millions of quotes.

    None where another worker is compacting, or was first.
    """
    connection = await session.connection()
    if not await connection.scalar(_LOCK):
        return None
    if (found := (await connection.execute(_BEGIN, {"name": name})).first()) is None:
        return None
    before = await connection.scalar(_SIZE, {"name": name}) or 0
    copy = Copy(name, found.changes, found.bounds, found.upto, bytes_before=before)
    words = {"name": copy.name, "of": name, "upto": copy.upto, "columns": _COLUMNS}
    for statement in _PREPARE:
        await connection.exec_driver_sql(statement.format(**words, condition=found.condition))
    count = (await connection.exec_driver_sql(_FILL.format(**words))).rowcount
    for statement in _FINISH:
        await connection.exec_driver_sql(statement.format(**words))
    after = await connection.scalar(_SIZE, {"name": copy.name}) or 0
    return replace(copy, count=count, bytes_after=after)


# Each by the index for its kind.
_CATCH_UP = """
    INSERT INTO {name} ({columns})
    SELECT {columns} FROM {of} WHERE seq > {after} AND seq <= {upto} AND origin <> 'BACKFILLED'
    UNION ALL
    SELECT {columns} FROM {of} WHERE seq > {after} AND seq <= {upto} AND origin = 'BACKFILLED'
"""


async def catch_up(session: AsyncSession, copy: Copy) -> Copy:
    """Copy what was stored since, too."""
    connection, upto = await session.connection(), await store.high_water(session)
    words = {"name": copy.name, "of": copy.of, "after": copy.upto, "upto": upto}
    statement = _CATCH_UP.format(**words, columns=_COLUMNS)
    count = (await connection.exec_driver_sql(statement)).rowcount
    return replace(copy, upto=upto, count=copy.count + count)


_NOTE = text(
    """
    UPDATE partitions SET name = :name, compacted_at = clock_timestamp()
    WHERE name = :of AND changes = :changes
    """
).bindparams(
    bindparam("name", type_=Text),
    bindparam("of", type_=Text),
    bindparam("changes", type_=BigInteger),
)


async def swap(session: AsyncSession, copy: Copy) -> Copy:
    """Put the copy in the partition's place; the transaction is to be committed at once.

    Raises errors.BusyError where a reader or writer holds the table for too long, and ChangedError.
    """
    connection = await session.connection()
    await connection.exec_driver_sql(LOCK_TIMEOUT)
    await store.lock(session)
    copy = await catch_up(session, copy)
    await connection.exec_driver_sql(f"DROP TABLE {copy.of}")
    # Only now, when nobody deletes any more.
    words = {"name": copy.name, "of": copy.of, "changes": copy.changes}
    if not (await connection.execute(_NOTE, words)).rowcount:
        raise ChangedError
    for statement in (
        f"ALTER TABLE quotes ATTACH PARTITION {copy.name} {copy.bounds}",
        f"ALTER TABLE {copy.name} DROP CONSTRAINT {copy.name}_bounds",
    ):
        await connection.exec_driver_sql(statement)
    return copy
