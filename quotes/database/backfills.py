"""Which charts of the exchange were fetched, and which worker fetches the next one.

Each function runs in the transaction of the session it is given, and never commits.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ARRAY, DateTime, Text, bindparam, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.connections import CLAIM_LOCK
from quotes.database.models import Backfill
from quotes.market.sources import Range

# Each minute, and nearly always for nothing: a row is tried only where there is none.
_ADD = text(
    """
    INSERT INTO backfills (ticker, range, added_at, due_at, attempts, left_out)
    SELECT ticker, range, :now, :now, 0, 0
    FROM unnest(:tickers) AS wanted (ticker) CROSS JOIN unnest(:ranges) AS chart (range)
    WHERE NOT EXISTS (
        SELECT FROM backfills AS known
        WHERE known.ticker = wanted.ticker AND known.range = chart.range
    )
    ORDER BY ticker, range
    ON CONFLICT DO NOTHING
    """
).bindparams(
    bindparam("tickers", type_=ARRAY(Text)),
    bindparam("ranges", type_=ARRAY(Text)),
    bindparam("now", type_=DateTime(timezone=True)),
)


async def add(session: AsyncSession, tickers: Collection[str], now: datetime) -> None:
    """Schedule every chart of these tickers; those scheduled before are not changed."""
    parameters = {"tickers": list(tickers), "ranges": [*Range], "now": now}
    await (await session.connection()).execute(_ADD, parameters)


async def of(session: AsyncSession, tickers: Collection[str]) -> Sequence[Backfill]:
    """The charts of these tickers that were scheduled."""
    query = select(Backfill).where(col(Backfill.ticker).in_(tickers))
    return (await session.exec(query)).all()


async def unfinished(session: AsyncSession, tickers: Collection[str]) -> Sequence[Backfill]:
    """The charts of these tickers that were never fetched completely, the finest first."""
    query = select(Backfill).where(
        col(Backfill.ticker).in_(tickers), col(Backfill.finished_at).is_(None)
    )
    order = [*Range]
    return sorted(
        (await session.exec(query)).all(), key=lambda each: order.index(Range(each.range))
    )


# One chart of a ticker at a time, the finest first, since the first price stored for a minute
# stays. The finest of all tickers come before any coarser one, since they reach back the least.
_NEXT = text(
    """
    UPDATE backfills SET claimed_until = :until
    WHERE (ticker, range) = (
        SELECT ticker, range FROM backfills AS due
        WHERE ticker = ANY (:tickers) AND finished_at IS NULL AND due_at <= :now
          AND NOT EXISTS (
              SELECT FROM backfills AS other
              WHERE other.ticker = due.ticker AND other.claimed_until > :now
          )
        ORDER BY array_position(:ranges, range), ticker
        LIMIT 1
    )
    RETURNING ticker, range, added_at
    """
).bindparams(
    bindparam("tickers", type_=ARRAY(Text)),
    bindparam("ranges", type_=ARRAY(Text)),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("until", type_=DateTime(timezone=True)),
)


async def claim(
    session: AsyncSession, tickers: Collection[str], *, now: datetime, until: datetime
) -> tuple[str, Range, datetime] | None:
    """Claim the next chart until `until`: its ticker, range and `added_at`.

    No other worker gets the ticker before then, or before `record`. None if no chart is due.
    """
    connection = await session.connection()
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": CLAIM_LOCK})
    row = (
        await connection.execute(
            _NEXT, {"tickers": list(tickers), "ranges": [*Range], "now": now, "until": until}
        )
    ).first()
    return None if row is None else (row.ticker, Range(row.range), row.added_at)


async def claim_repair(session: AsyncSession, chart: Backfill, now: datetime) -> bool:
    """Claim this chart for a repair; False if another worker was first."""
    claimed = await session.exec(
        update(Backfill)
        .where(
            col(Backfill.ticker) == chart.ticker,
            col(Backfill.range) == chart.range,
            col(Backfill.repaired_at).is_not_distinct_from(chart.repaired_at),
        )
        .values(repaired_at=now)
    )
    return claimed.rowcount == 1


async def record(session: AsyncSession, chart: Backfill) -> None:
    """Store the result of a fetch, and release the claim. A finished chart stays finished."""
    new = insert(Backfill).values(chart.model_dump())
    await session.exec(
        new.on_conflict_do_update(
            constraint="backfills_pkey",
            set_={
                "finished_at": text("coalesce(backfills.finished_at, excluded.finished_at)"),
                "due_at": new.excluded.due_at,
                "claimed_until": None,
                "attempts": new.excluded.attempts,
                "left_out": new.excluded.left_out,
                "reason": new.excluded.reason,
            },
        )
    )


async def postpone(session: AsyncSession, ticker: str, until: datetime) -> None:
    """No chart of the ticker is fetched again before `until`."""
    await session.exec(
        update(Backfill)
        .where(col(Backfill.ticker) == ticker)
        .values(due_at=until, repaired_at=until)
    )
