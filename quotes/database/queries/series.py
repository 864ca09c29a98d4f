"""The statements that read a ticker's prices for a chart: of many minutes, those that stand out.

Each function runs in the transaction of the session it is given, and never commits.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.queries.history import bound, fetch
from quotes.market.coverage import MINUTE, hour_of


@dataclass(frozen=True, slots=True)
class Points:
    """Quotes in the order of their minutes, in columns; and how many they stand for."""

    times: list[int]  # UNIX seconds
    prices: list[str]  # exact
    count: int


FIRST_MINUTE = "64 - position(B'1' IN (minutes & -minutes)::bit(64))"
LAST_MINUTE = "64 - position(B'1' IN minutes::bit(64))"
# From the hours, whose table is one and small. Bit n of an hour's minutes is its n-th minute.
_EXTENT = f"""
    SELECT oldest.minute, newest.minute
    FROM (SELECT hour + ({FIRST_MINUTE}) * interval '1 minute' AS minute
          FROM hours WHERE ticker = :ticker ORDER BY hour LIMIT 1) AS oldest,
         (SELECT hour + ({LAST_MINUTE}) * interval '1 minute' AS minute
          FROM hours WHERE ticker = :ticker ORDER BY hour DESC LIMIT 1) AS newest
"""  # noqa: S608  # our own text alone


async def extent(session: AsyncSession, ticker: str) -> tuple[datetime, datetime] | None:
    """The first and the last minute that have a quote."""
    found = await fetch(session, bound(_EXTENT, ticker=ticker))
    return (found[0][0], found[0][1]) if found else None


_COLUMNS = """
    array_agg(extract(epoch FROM minute)::bigint ORDER BY minute),
    array_agg(price::text ORDER BY minute)
"""
# A minute of an hour that a bound cuts stands there as an hour with a single quote, its first.
_BUCKETS = """
    SELECT min(at) AS first_hour, (array_agg(minutes ORDER BY at))[1] AS first_minutes,
           (array_agg(open ORDER BY at))[1] AS open,
           (array_agg(high_at ORDER BY high DESC, at))[1] AS high_at, max(high) AS high,
           (array_agg(low_at ORDER BY low, at))[1] AS low_at, min(low) AS low,
           max(at) AS last_hour, (array_agg(minutes ORDER BY at DESC))[1] AS last_minutes,
           (array_agg(close ORDER BY at DESC))[1] AS close, sum(count) AS count
    FROM (
        SELECT hour AS at, minutes, open, high_at, high, low_at, low, close, count
        FROM hours WHERE ticker = :ticker AND hour >= :since AND hour < :until
                     AND hour <> ALL (:cut)
        UNION ALL
        SELECT minute, 1, price, minute, price, minute, price, price, 1
        FROM unnest(:cut) AS cut (hour)
        JOIN quotes ON ticker = :ticker AND minute >= cut.hour
                   AND minute < cut.hour + interval '1 hour'
                   AND minute >= :since AND minute < :until
    ) AS piece
    GROUP BY date_bin(:length, at, :begin)
"""
# Bit n of an hour's minutes is its n-th minute, so the lowest is its first quote.
_OF_HOURS = f"""
    WITH bucket AS ({_BUCKETS})
    SELECT {_COLUMNS}, (SELECT sum(count)::int FROM bucket)
    FROM (
        SELECT DISTINCT ON (minute) minute, price
        FROM bucket, LATERAL (
            VALUES
                (1, first_hour, 64 - position(B'1' IN (first_minutes & -first_minutes)::bit(64)),
                 open),
                (2, last_hour, 64 - position(B'1' IN last_minutes::bit(64)), close),
                (3, high_at, 0, high),
                (4, low_at, 0, low)
        ) AS corner (place, hour, number, price),
        LATERAL (SELECT hour + number * interval '1 minute' AS minute) AS of_hour
        ORDER BY minute, place
    ) AS point
"""  # noqa: S608  # our own text alone


async def of_hours(
    session: AsyncSession, ticker: str, since: datetime, until: datetime, length: timedelta
) -> Points:
    """The first, highest, lowest and last quote of each `length`, whole hours, of [since, until).

    Of equal extremes the earlier.
    """
    cut = sorted({hour_of(bound) for bound in (since, until) if hour_of(bound) != bound})
    span = {"since": since, "until": until, "begin": hour_of(since)}
    hours = bound(_OF_HOURS, ticker=ticker, cut=cut, length=length, **span)
    return _points(*(await fetch(session, hours))[0])


_MINUTES = "FROM quotes WHERE ticker = :ticker AND minute >= :since AND minute < :until"
_EXTENT_OF_MINUTES = f"SELECT count(*), min(minute), max(minute) {_MINUTES}"
_ALL = f"SELECT {_COLUMNS}, count(*) {_MINUTES}"  # our own text alone
_OF_MINUTES = f"""
    SELECT {_COLUMNS}, :count
    FROM (
        SELECT DISTINCT outermost.minute
        FROM (
            SELECT min(minute) AS first, max(minute) AS last,
                   (array_agg(minute ORDER BY price DESC, minute))[1] AS high,
                   (array_agg(minute ORDER BY price, minute))[1] AS low
            {_MINUTES}
            GROUP BY (extract(epoch FROM minute - :first) * 1000000)::bigint / :width
        ) AS bucket,
        LATERAL (VALUES (first), (high), (low), (last)) AS outermost (minute)
    ) AS chosen
    JOIN quotes USING (minute)
    WHERE ticker = :ticker AND minute >= :since AND minute < :until
"""  # noqa: S608  # our own text alone


async def of_minutes(
    session: AsyncSession, ticker: str, since: datetime, until: datetime, most: int
) -> Points:
    """All quotes of [since, until), or if they are more than `most`, the outermost.

    These are the first, highest, lowest and last of each quarter of `most` buckets of equal
    length; of equal extremes the earlier.
    """
    span = {"ticker": ticker, "since": since, "until": until}
    ((count, first, last),) = await fetch(session, bound(_EXTENT_OF_MINUTES, **span))
    if count <= most:
        return _points(*(await fetch(session, bound(_ALL, **span)))[0])
    width = (last - first + MINUTE) / (most // 4)
    outermost = bound(
        _OF_MINUTES, **span, first=first, width=width // timedelta(microseconds=1), count=count
    )
    return _points(*(await fetch(session, outermost))[0])


def _points(times: list[int] | None, prices: list[str] | None, count: int | None) -> Points:
    return Points(times or [], prices or [], count or 0)
