"""The streamed quotes of some tickers, in the order of the log: by the runs that they are in."""

from typing import Any

from sqlalchemy import ARRAY, BigInteger, DateTime, Integer, Text, bindparam, text
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.log.partitions import Piece

LEAST_SHARE = 8  # quotes read of each ticker, however many tickers a page is of

# Of each ticker its next runs, as many as hold :share quotes, and these quotes by the key: whatever
# the tickers are, and however far apart their quotes lie, little more is read. The first of those
# that have their share tells up to where all is complete; the rest is left to the next page. Which
# seqs a run's quotes have is compared outside OFFSET 0, so that no index of seqs serves that: with
# statistics of an older table, the planner walked the whole log.
_PAGE = text(
    """
    WITH piece AS MATERIALIZED (
        SELECT one.*, count(*) OVER of_ticker AS found, max(run_end) OVER of_ticker AS reached
        FROM unnest(:tickers) AS wanted (name),
        LATERAL (
            SELECT quote.*, run_end
            FROM (
                SELECT hour, first_seq,
                       coalesce(lead(first_seq) OVER (ORDER BY first_seq) - 1, :upto) AS run_end
                FROM runs
                WHERE ticker = wanted.name AND first_seq <= :upto
                  AND first_seq >= coalesce(
                      (SELECT max(first_seq) FROM runs
                       WHERE ticker = wanted.name AND first_seq <= :after), 0)
            ) AS run,
            LATERAL (
                SELECT ticker, minute, price, observed_at, exact_time, source, origin, seq
                FROM quotes
                WHERE ticker = wanted.name AND origin <> 'BACKFILLED'
                  AND minute >= :since AND minute < :until
                  AND minute >= hour AND minute < hour + interval '1 hour'
                OFFSET 0
            ) AS quote
            WHERE seq > :after AND seq BETWEEN first_seq AND run_end
            ORDER BY first_seq
            FETCH FIRST (:share) ROWS WITH TIES
        ) AS one
        WINDOW of_ticker AS (PARTITION BY ticker)
    )
    SELECT ticker, minute, price, observed_at, exact_time, source, origin, seq,
           complete.upto AS complete
    FROM piece,
         (SELECT min(reached) AS upto FROM piece WHERE found >= :share) AS complete
    WHERE seq <= coalesce(complete.upto, :upto)
    ORDER BY seq
    LIMIT :limit
    """
).bindparams(
    bindparam("tickers", type_=ARRAY(Text)),
    bindparam("after", type_=BigInteger),
    bindparam("upto", type_=BigInteger),
    bindparam("since", type_=DateTime(timezone=True)),
    bindparam("until", type_=DateTime(timezone=True)),
    bindparam("share", type_=Integer),
    bindparam("limit", type_=Integer),
)


async def page(
    session: AsyncSession, piece: Piece, limit: int, names: list[str]
) -> tuple[list[Any], int]:
    """The first quotes of the piece, at most `limit`, in order; up to which seq they are all."""
    parameters = {
        "tickers": names,
        "share": min(limit, 2 * limit // max(len(names), 1) + LEAST_SHARE),
        "limit": limit,
        "after": piece.after,
        "upto": piece.upto,
        "since": piece.since,
        "until": piece.until,
    }
    rows = (await (await session.connection()).execute(_PAGE, parameters)).all()
    complete = rows[0].complete if rows else None
    if len(rows) == limit:
        return list(rows), rows[-1].seq
    return list(rows), piece.upto if complete is None else complete
