"""Every statement that reads history at large: candles, and which minutes are missing.

Each function runs in the transaction of the session it is given, and never commits.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    Interval,
    Text,
    TextClause,
    bindparam,
    text,
)
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.queries.json_pages import Row, expression
from quotes.market.coverage import FULL, HOUR, MINUTE, Gap, HourCoverage, hour_of

PART = 2_000  # rows that are looked at in one round of the event loop


async def freeze(session: AsyncSession) -> None:
    """All that this session reads from here on is of one moment. To be called first of all."""
    connection = await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    # Before that moment: of a partition that is replaced after it, the rows would not be seen.
    await connection.exec_driver_sql("LOCK TABLE ONLY quotes IN ACCESS SHARE MODE")


@dataclass(slots=True)  # frozen takes thrice as long to make, and these come in thousands
class Ohlc:
    """The quotes of one bucket, rolled up."""

    bucket: int  # its place among the starts that were requested, from 0
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    count: int


_CANDLES = """
    SELECT {bucket} AS bucket,
           (array_agg(open ORDER BY at))[1] AS open, max(high) AS high, min(low) AS low,
           (array_agg(close ORDER BY at DESC))[1] AS close, sum(count)::int AS count
    FROM (SELECT {key} AS key, piece.* FROM ({rows}) AS piece) AS keyed
    GROUP BY key
    ORDER BY key
"""
# Where no bucket holds more than one row, nothing is left to roll up: a third of the time.
_ALREADY = """
    SELECT {bucket} AS bucket, open, high, low, close, count
    FROM (SELECT at AS key, piece.* FROM ({rows}) AS piece) AS keyed
    ORDER BY key
"""
# By a key of the rows; which bucket that is, is computed for each bucket alone.
_EQUAL = {
    "key": "date_bin(:length, at, :since)",
    "bucket": "floor(extract(epoch FROM key - :since) / extract(epoch FROM :length))::int",
}
# Thousands of bounds are sent as text: to encode them as an array takes ten times as long. The
# subquery is run once.
_BOUNDS = "(SELECT cast(:bounds AS timestamptz[]))"
_UNEQUAL = {"key": f"width_bucket(at, {_BOUNDS}) - 1", "bucket": "key"}
_MINUTES = """
    SELECT minute AS at, price AS open, price AS high, price AS low, price AS close, 1 AS count
    FROM quotes WHERE ticker = :ticker AND minute >= :since AND minute < :until
"""
_HOURS = """
    SELECT hour AS at, open, high, low, close, count
    FROM hours WHERE ticker = :ticker AND hour >= :since AND hour < :until
"""
# An hour that a bucket's bound cuts in two is read from its minutes.
_HOURS_BUT_CUT = f"""
    WITH bound AS (
        SELECT at, date_bin('1 hour', at, '2000-01-01 00:00+00') AS hour
        FROM unnest({_BOUNDS}) AS given (at)
    ), cut AS MATERIALIZED (SELECT DISTINCT hour FROM bound WHERE at <> hour)
    {_HOURS} AND NOT EXISTS (SELECT FROM cut WHERE cut.hour = hours.hour)
    UNION ALL
    SELECT minute, price, price, price, price, 1
    FROM cut
    JOIN quotes ON ticker = :ticker AND minute >= cut.hour AND minute < cut.hour + interval '1 hour'
               AND minute >= :since AND minute < :until
"""  # noqa: S608  # our own text alone


async def candles(
    session: AsyncSession, ticker: str, starts: Sequence[datetime], until: datetime
) -> list[Ohlc]:
    """The buckets that have quotes, in order; one begins at each of `starts`, in order.

    The last ends at `until`. From the hours where no bucket is shorter than one, else from the
    minutes.
    """
    sql, parameters = _rolled(ticker, starts, until)
    return [Ohlc(*row) for row in await fetch(session, bound(sql, **parameters))]


async def candles_json(
    session: AsyncSession, ticker: str, bounds: Sequence[datetime], row: Row, now: datetime
) -> tuple[str, int]:
    """The buckets between each bound and the next that have quotes.

    As JSON separated by commas; and how many they are.
    """
    sql, parameters = _rolled(ticker, bounds[:-1], bounds[-1])
    place = ":since + bucket * :length", ":since + (bucket + 1) * :length"
    if "length" not in parameters:  # the buckets are not alike
        place = f"({_BOUNDS})[bucket + 1]", f"({_BOUNDS})[bucket + 2]"
    written = f"""
        SELECT string_agg({expression(row)}, ','), count(*)
        FROM (
            SELECT {place[0]} AS start, {place[1]} AS stop, open, high, low, close, count
            FROM ({sql}) AS rolled
        ) AS candle
        WHERE :now IS NOT NULL
    """  # noqa: S608  # names of fields and our own text alone
    statement = bound(written, **parameters, now=now)
    ((found, count),) = await fetch(session, statement)
    return found or "", count


def _rolled(
    ticker: str, starts: Sequence[datetime], until: datetime
) -> tuple[str, dict[str, object]]:
    bounds = (*starts, until)
    lengths = {end - start for start, end in pairwise(bounds)}
    shortest = min(lengths)
    parameters: dict[str, object] = {"ticker": ticker, "since": starts[0], "until": until}
    rows, step = _MINUTES, MINUTE
    if shortest >= HOUR:
        cut = any(bound.minute or bound.second for bound in bounds)
        rows, step = (_HOURS_BUT_CUT, MINUTE) if cut else (_HOURS, HOUR)
    equal = lengths == {shortest}
    if equal:
        parameters["length"] = shortest
    if not equal or rows is _HOURS_BUT_CUT:
        parameters["bounds"] = f"{{{','.join(bound.isoformat() for bound in bounds)}}}"
    rolled = _ALREADY if lengths == {step} else _CANDLES
    return rolled.format(rows=rows, **(_EQUAL if equal else _UNEQUAL)), parameters


# Bit n of an hour's minutes is its n-th; of a range's first and last hour only some are in it.
_PRESENT = """
    SELECT coalesce(sum(bit_count((minutes & mask)::bit(64))), 0)::int,
           coalesce(sum(bit_count((repaired & mask)::bit(64))), 0)::int
    FROM (
        SELECT minutes, repaired,
               CASE hour WHEN :first THEN :from_since ELSE -1 END
               & CASE hour WHEN :last THEN :to_until ELSE -1 END AS mask
        FROM hours WHERE ticker = :ticker AND hour >= :first AND hour < :until
    ) AS masked
"""


async def present(
    session: AsyncSession, ticker: str, since: datetime, until: datetime
) -> tuple[int, int]:
    """How many of the minutes in [since, until) have quotes, and how many of these are repaired."""
    statement = bound(
        _PRESENT,
        ticker=ticker,
        until=until,
        first=hour_of(since),
        last=hour_of(until),
        from_since=FULL & (-1 << since.minute),
        to_until=(1 << until.minute) - 1,
    )
    ((minutes, repaired),) = await fetch(session, statement)
    return minutes, repaired


_INCOMPLETE_HOURS = """
    SELECT hour, minutes, repaired, before
    FROM (
        SELECT hour, minutes, repaired,
               lag(hour) OVER in_order AS before, lead(hour) OVER in_order AS after
        FROM hours WHERE ticker = :ticker AND hour >= :since AND hour < :until
        WINDOW in_order AS (ORDER BY hour)
    ) AS neighbours
    WHERE minutes <> :full OR repaired <> 0 OR after IS NULL
       OR before IS DISTINCT FROM hour - interval '1 hour'
    ORDER BY hour
    LIMIT :most
"""


async def incomplete_hours(
    session: AsyncSession, ticker: str, since: datetime, until: datetime, most: int = 1_000_000
) -> list[HourCoverage]:
    """The first hours that [since, until) touches, in order, without those `gaps` needs not."""
    span = {"since": hour_of(since), "until": until}
    statement = bound(_INCOMPLETE_HOURS, ticker=ticker, **span, full=FULL, most=most)
    rows, hours = await fetch(session, statement), list[HourCoverage]()
    for begin in range(0, len(rows), PART):
        hours += [HourCoverage(*row) for row in rows[begin : begin + PART]]
        await asyncio.sleep(0)
    return hours


_CAUSES = """
    SELECT DISTINCT ON (place) place::int, cause
    FROM (
        SELECT place, cause, count(*) AS times, min(minute) AS first
        FROM unnest(:starts, :ends) WITH ORDINALITY AS gap (since, until, place)
        JOIN failures ON ticker = :ticker AND minute >= since AND minute < until
        GROUP BY place, cause
    ) AS counted
    ORDER BY place, times DESC, first
"""


async def causes(session: AsyncSession, ticker: str, gaps: Sequence[Gap]) -> dict[int, str]:
    """By its place, from 0, the cause of most of a gap's failures; none where there were none."""
    starts, ends = [gap.since for gap in gaps], [gap.until for gap in gaps]
    statement = bound(_CAUSES, ticker=ticker, starts=starts, ends=ends)
    return {place - 1: cause for place, cause in await fetch(session, statement)}


def bound(sql: str, **parameters: object) -> TextClause:
    kinds: dict[type, Any] = {
        list: ARRAY(DateTime(timezone=True)),
        datetime: DateTime(timezone=True),
        timedelta: Interval(),
        str: Text(),
        int: BigInteger(),
    }
    return text(sql).bindparams(
        *(bindparam(name, value, type_=kinds[type(value)]) for name, value in parameters.items())
    )


async def fetch(session: AsyncSession, statement: TextClause) -> Sequence[Any]:
    return (await (await session.connection()).execute(statement)).all()
