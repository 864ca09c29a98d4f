"""The statement that reads the last hours of many tickers at once, for small charts."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ARRAY, Integer, Interval, Text, bindparam, text
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.queries.series import LAST_MINUTE

Line = tuple[str, list[int], list[str]]  # a ticker, the minutes in UNIX seconds, exact prices

# From the hours alone but for the base: a day of the whole exchange is 7,000 hours, and 400,000
# minutes; and of the newest hour the last minute is known without looking through partitions. The
# first hours begin within the window, so none of their quotes is older than the base.
_SPARKLINES = text(
    f"""
    WITH ends AS MATERIALIZED (
        SELECT name, newest.minute AS until, newest.price AS last,
               base.minute AS since, base.price AS first
        FROM unnest(:tickers) AS wanted (name)
        CROSS JOIN LATERAL (
            SELECT hour + ({LAST_MINUTE}) * interval '1 minute' AS minute, close AS price
            FROM hours WHERE ticker = name ORDER BY hour DESC LIMIT 1
        ) AS newest
        LEFT JOIN LATERAL (
            SELECT minute, price FROM quotes
            WHERE ticker = name AND minute <= newest.minute - :window
              AND minute >= newest.minute - :window - :patience
            ORDER BY minute DESC LIMIT 1
        ) AS base ON true
    ),
    part AS (
        SELECT name,
               (array_agg(high_at ORDER BY high DESC, hour))[1] AS high_at, max(high) AS high,
               (array_agg(low_at ORDER BY low, hour))[1] AS low_at, min(low) AS low
        FROM ends JOIN hours ON ticker = name AND hour >= until - :window AND hour <= until
        WHERE :hours > 0
        GROUP BY name, floor(extract(epoch FROM hour) / (3600 * greatest(:hours, 1)))
    )
    SELECT name, array_agg(extract(epoch FROM minute)::bigint ORDER BY minute),
           array_agg(price::text ORDER BY minute)
    FROM (
        SELECT name, since AS minute, first AS price FROM ends WHERE since IS NOT NULL
        UNION SELECT name, high_at, high FROM part
        UNION SELECT name, low_at, low FROM part
        UNION SELECT name, until, last FROM ends
    ) AS point
    GROUP BY name ORDER BY name
    """  # noqa: S608  # our own text alone
).bindparams(
    bindparam("tickers", type_=ARRAY(Text)),
    bindparam("window", type_=Interval),
    bindparam("patience", type_=Interval),
    bindparam("hours", type_=Integer),
)


async def read(
    session: AsyncSession,
    tickers: Sequence[str],
    *,
    window: timedelta,
    patience: timedelta,
    hours: int,
) -> Sequence[Line]:
    """Of each ticker that has a quote, in the order of names: the ends of the window up to its
    newest quote, and the highest and the lowest of so many hours each; of none with 0.

    Its first end is the newest quote that is at least a window older, and at most by `patience`.
    """
    connection = await session.connection()
    given = {"tickers": tickers, "window": window, "patience": patience, "hours": hours}
    return [
        (name, times, prices)
        for name, times, prices in await connection.execute(_SPARKLINES, given)
    ]
