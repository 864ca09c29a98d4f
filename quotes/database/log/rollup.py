"""The hourly rollup: written in the transaction that stores or removes its quotes."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ARRAY, DateTime, Text, bindparam, delete, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.models import Hour
from quotes.market.coverage import HOUR, hour_of

Key = tuple[str, datetime]  # a ticker and the hour's beginning

# From the minutes, so that late quotes in any order result in the same row.
_REFRESH = text(
    """
    INSERT INTO hours (ticker, hour, open, high, low, close, high_at, low_at,
                       count, minutes, repaired)
    SELECT touched.ticker, touched.hour, rolled.*
    FROM unnest(:tickers, :hours) AS touched (ticker, hour),
    LATERAL (
        SELECT (array_agg(price ORDER BY minute))[1],
               max(price),
               min(price),
               (array_agg(price ORDER BY minute DESC))[1],
               (array_agg(minute ORDER BY price DESC, minute))[1],
               (array_agg(minute ORDER BY price, minute))[1],
               count(*),
               bit_or(1::bigint << place),
               coalesce(bit_or(1::bigint << place) FILTER (WHERE origin = 'REPAIRED'), 0)
        FROM quotes,
        LATERAL (SELECT (extract(epoch FROM minute - touched.hour) / 60)::int AS place) AS within
        WHERE quotes.ticker = touched.ticker
          AND minute >= touched.hour AND minute < touched.hour + interval '1 hour'
          AND minute >= :since AND minute < :until
        HAVING count(*) > 0
    ) AS rolled
    ON CONFLICT (ticker, hour) DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        high_at = excluded.high_at, low_at = excluded.low_at,
        count = excluded.count, minutes = excluded.minutes, repaired = excluded.repaired
    """
).bindparams(
    bindparam("tickers", type_=ARRAY(Text)),
    bindparam("hours", type_=ARRAY(DateTime(timezone=True))),
    bindparam("since", type_=DateTime(timezone=True)),
    bindparam("until", type_=DateTime(timezone=True)),
)


async def refresh(session: AsyncSession, touched: Collection[Key]) -> None:
    """Recompute these hours. Only under `store.lock`, which excludes other writers."""
    if not touched:
        return
    connection = await session.connection()
    in_order = sorted(touched)
    hours = [hour for _, hour in in_order]
    await connection.execute(
        _REFRESH,
        {
            "tickers": [ticker for ticker, _ in in_order],
            "hours": hours,
            "since": min(hours),
            "until": max(hours) + HOUR,
        },
    )


async def rebuild(session: AsyncSession, ticker: str, since: datetime, until: datetime) -> None:
    """Recompute every hour that overlaps [since, until); hours without quotes are deleted.

    Only under `store.lock`.
    """
    first = hour_of(since)
    await session.exec(
        delete(Hour).where(
            col(Hour.ticker) == ticker, col(Hour.hour) >= first, col(Hour.hour) < until
        )
    )
    hours = -((first - until) // HOUR)
    await refresh(session, [(ticker, first + number * HOUR) for number in range(hours)])


async def close_before(session: AsyncSession, ticker: str, moment: datetime) -> Decimal | None:
    """The last price of the newest hour that is over by then, also of minutes no longer kept."""
    over = select(Hour).where(col(Hour.ticker) == ticker, col(Hour.hour) < hour_of(moment))
    newest = (await session.exec(over.order_by(col(Hour.hour).desc()).limit(1))).first()
    return None if newest is None else newest.close
