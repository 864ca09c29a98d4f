"""The statements that read the log: the streamed quotes in the order of their seqs."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import cast

from sqlalchemy import ARRAY, BigInteger, Integer, Text, bindparam, inspect, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.models import Origin, Quote

_COLUMNS = inspect(Quote).columns
_STREAMED = col(Quote.origin) != Origin.BACKFILLED

LEAST_SHARE = 8  # quotes read of each ticker, however many tickers a page is of

# Of each ticker its next :share, by the index that serves just that: whichever tickers there are,
# and however far apart their quotes lie, no more is read. What the first of them to run out of its
# share reaches to is complete; the rest is left to the next page. Rows are compared, so that no
# other index has their order: with statistics of an older table, `ticker = name ORDER BY seq` made
# the planner walk the whole log.
_OF_TICKERS = text(
    """
    WITH piece AS MATERIALIZED (
        SELECT one.*, count(*) OVER of_ticker AS found, max(seq) OVER of_ticker AS reached
        FROM unnest(:tickers) AS wanted (name),
        LATERAL (
            SELECT ticker, minute, price, observed_at, source, origin, seq
            FROM quotes
            WHERE origin <> 'BACKFILLED'
              AND (ticker, seq) > (wanted.name, :after) AND (ticker, seq) <= (wanted.name, :upto)
            ORDER BY ticker, seq
            LIMIT :share
        ) AS one
        WINDOW of_ticker AS (PARTITION BY ticker)
    )
    SELECT ticker, minute, price, observed_at, source, origin, seq, complete.upto AS complete
    FROM piece,
         (SELECT min(reached) AS upto FROM piece WHERE found = :share) AS complete
    WHERE seq <= coalesce(complete.upto, :upto)
    ORDER BY seq
    LIMIT :limit
    """
).bindparams(
    bindparam("tickers", type_=ARRAY(Text)),
    bindparam("after", type_=BigInteger),
    bindparam("upto", type_=BigInteger),
    bindparam("share", type_=Integer),
    bindparam("limit", type_=Integer),
)


async def page(
    session: AsyncSession,
    *,
    after: int,
    upto: int,
    limit: int,
    tickers: Collection[str] | None = None,
) -> tuple[Sequence[Quote], int]:
    """Streamed quotes with after < seq <= upto, in order, at most `limit`; how far they reach.

    All up to there are among them. They are rows with a quote's attributes.
    """
    connection = await session.connection()
    bounds = {"after": after, "upto": upto, "limit": limit}
    if tickers is None:
        query = (
            select(*_COLUMNS)
            .where(col(Quote.seq) > after, col(Quote.seq) <= upto, _STREAMED)
            .order_by(col(Quote.seq))
            .limit(limit)
        )
        rows = (await connection.execute(query)).all()
        complete = None
    else:
        names = list(set(tickers))
        share = min(limit, 2 * limit // max(len(names), 1) + LEAST_SHARE)
        parameters = {**bounds, "tickers": names, "share": share}
        rows = (await connection.execute(_OF_TICKERS, parameters)).all()
        complete = rows[0].complete if rows else None
    if len(rows) == limit:
        complete = rows[-1].seq
    return cast("Sequence[Quote]", rows), upto if complete is None else complete


async def end(session: AsyncSession, *, upto: int | None = None, limit: int) -> Sequence[Quote]:
    """The last `limit` streamed quotes, with seq <= upto, in order; rows as those of `page`."""
    query = select(*_COLUMNS).where(_STREAMED).order_by(col(Quote.seq).desc()).limit(limit)
    if upto is not None:
        query = query.where(col(Quote.seq) <= upto)
    rows = (await (await session.connection()).execute(query)).all()
    return cast("Sequence[Quote]", rows)[::-1]


# In one statement, since each takes a round of the event loop, and a busy one has long rounds.
_NEWS = text(
    """
    SELECT high_water.seq AS last, clock_timestamp() - advanced_at AS last_age, one.*
    FROM high_water
    LEFT JOIN LATERAL (
        SELECT ticker, minute, price, observed_at, source, origin, seq
        FROM quotes
        WHERE seq >= :since AND seq <= high_water.seq AND origin <> 'BACKFILLED'
        ORDER BY seq
        LIMIT :limit
    ) AS one ON true
    """
).bindparams(bindparam("since", type_=BigInteger), bindparam("limit", type_=Integer))


async def news(
    session: AsyncSession, *, since: int, limit: int
) -> tuple[Sequence[Quote], int, timedelta | None]:
    """The first streamed quotes with seq >= since, at most `limit`; the last seq, and its age.

    The age is by the database's clock; None where nothing was ever committed.
    """
    rows = (
        await (await session.connection()).execute(_NEWS, {"since": since, "limit": limit})
    ).all()
    quotes = [row for row in rows if row.seq is not None]
    return cast("Sequence[Quote]", quotes), rows[0].last, rows[0].last_age
