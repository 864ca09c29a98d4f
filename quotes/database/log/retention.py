"""Retention: of what is no longer kept, whole partitions are dropped. Their hours stay.

Each function runs in the transaction of the session it is given, and never commits.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import BigInteger, DateTime, Text, bindparam, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.log import store
from quotes.database.models import HighWater, Partition

# Readers and writers that come meanwhile wait as long as this, at most.
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '200ms'"


def first_kept(now: datetime, months: int) -> datetime:
    """The month that begins so many whole months before that of `now`."""
    years, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    return datetime(years, month + 1, 1, tzinfo=now.tzinfo)


async def retired_before(session: AsyncSession) -> datetime | None:
    """Minutes before it are no longer kept; None while all are."""
    return (await session.exec(select(HighWater.retired_before))).one()


async def expired(session: AsyncSession, before: datetime) -> Sequence[str]:
    """The partitions all of whose minutes are before that, the oldest first."""
    query = select(Partition.name).where(col(Partition.until) <= before)
    return (await session.exec(query.order_by(col(Partition.until)))).all()


_FORGET = text(
    "DELETE FROM partitions WHERE name = :name RETURNING until, last_streamed"
).bindparams(bindparam("name", type_=Text))
_RETIRE = text(
    """
    UPDATE high_water SET retired_before = greatest(retired_before, :until),
                          retired_seq = greatest(retired_seq, :seq)
    """
).bindparams(bindparam("until", type_=DateTime(timezone=True)), bindparam("seq", type_=BigInteger))


async def retire(session: AsyncSession, name: str) -> None:
    """Drop a partition for good; all web processes are notified, since answers change.

    Raises errors.BusyError where a reader or writer holds the table for too long. Does nothing
    where another worker was first.
    """
    connection = await session.connection()
    await connection.exec_driver_sql(LOCK_TIMEOUT)
    last = await store.lock(session)
    if (dropped := (await connection.execute(_FORGET, {"name": name})).first()) is None:
        return
    await connection.exec_driver_sql(f'DROP TABLE "{name}"')
    await connection.execute(_RETIRE, {"until": dropped.until, "seq": dropped.last_streamed or 0})
    await store.advance(session, last + 1)


_REMOVE_RUNS = text(
    """
    DELETE FROM runs WHERE ctid = ANY (ARRAY(
        SELECT runs.ctid FROM runs, high_water WHERE hour < retired_before LIMIT :chunk
    ))
    """
).bindparams(bindparam("chunk", type_=BigInteger))


async def remove_runs(session: AsyncSession, *, chunk: int) -> int:
    """Delete at most `chunk` runs of what is no longer kept; how many."""
    return (await (await session.connection()).execute(_REMOVE_RUNS, {"chunk": chunk})).rowcount


_REMOVE_FAILURES = text(
    """
    DELETE FROM failures WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM failures
        WHERE minute < greatest(
            :before,
            (SELECT minute FROM failures ORDER BY minute DESC OFFSET :most LIMIT 1)
        )
        LIMIT :chunk
    ))
    """
).bindparams(
    bindparam("before", type_=DateTime(timezone=True)),
    bindparam("most", type_=BigInteger),
    bindparam("chunk", type_=BigInteger),
)


async def remove_failures(session: AsyncSession, *, before: datetime, most: int, chunk: int) -> int:
    """Delete failures of minutes before that, and those beyond the newest `most`, about.

    At most `chunk` of them; how many.
    """
    bounds = {"before": before, "most": most, "chunk": chunk}
    return (await (await session.connection()).execute(_REMOVE_FAILURES, bounds)).rowcount
