"""The statements that read the log: the streamed quotes in the order of their seqs.

Each is bound to the partitions that it needs by minutes that it is given as parameters, since
PostgreSQL opens every other partition for what it has to look up itself.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    Integer,
    Select,
    Text,
    any_,
    bindparam,
    inspect,
    literal,
    text,
)
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.log import partitions, runs
from quotes.database.log.partitions import Book, Piece
from quotes.database.models import HighWater, Origin, Quote

_COLUMNS = inspect(Quote).columns
_STREAMED = col(Quote.origin) != Origin.BACKFILLED

# Of so many tickers, what follows in the log is looked at first, as many quotes as ten pages hold:
# less than a run of each. Where few of those quotes are of these tickers, runs find more.
MANY, AHEAD = 8, 10


class RetiredError(Exception):
    """Quotes that follow in the log are no longer kept."""


async def page(  # noqa: PLR0913  # each a bound of its own
    session: AsyncSession,
    book: Book,
    *,
    after: int,
    upto: int,
    limit: int,
    tickers: Collection[str] | None = None,
) -> tuple[Sequence[Quote], int]:
    """Streamed quotes with after < seq <= upto, in order, at most `limit`; how far they reach.

    All up to there are among them; that may be none at all. They are rows with a quote's
    attributes. `book` is of the log up to `upto` or further. Raises RetiredError.
    """
    piece = book.first(after, upto)
    rows, complete = list[Any](), upto
    if piece is not None:
        rows, complete = await _read(session, piece, limit, tickers)
    # Last, since a partition may be dropped meanwhile.
    if (await session.exec(select(HighWater.retired_seq))).one() > after:
        raise RetiredError
    return cast("Sequence[Quote]", rows), complete


async def _read(
    session: AsyncSession, piece: Piece, limit: int, tickers: Collection[str] | None
) -> tuple[list[Any], int]:
    names = None if tickers is None else list(set(tickers))
    if names is None:
        return await _next(session, piece, limit)
    if len(names) >= MANY:
        ahead = replace(piece, upto=min(piece.upto, piece.after + AHEAD * limit))
        rows, complete = await _next(session, ahead, limit, names)
        if ahead == piece or 2 * len(rows) >= limit:
            return rows, complete
    return await runs.page(session, piece, limit, names)


async def _next(
    session: AsyncSession, piece: Piece, limit: int, names: list[str] | None = None
) -> tuple[list[Any], int]:
    query = _of(piece)
    if names is not None:
        each = query.offset(0).subquery()  # so that no index of tickers serves this
        query = select(*each.c).where(each.c.ticker == any_(literal(names, ARRAY(Text))))
    rows = (await (await session.connection()).execute(query.order_by("seq").limit(limit))).all()
    return list(rows), rows[-1].seq if len(rows) == limit else piece.upto


def _of(piece: Piece) -> Select[Any]:
    seq, minute = col(Quote.seq), col(Quote.minute)
    query: Select[Any] = select(*_COLUMNS)
    return query.where(
        _STREAMED,
        seq > piece.after,
        seq <= piece.upto,
        minute >= piece.since,
        minute < piece.until,
    )


async def end(session: AsyncSession, *, upto: int | None = None, limit: int) -> Sequence[Quote]:
    """The last `limit` streamed quotes, with seq <= upto, in order; rows as those of `page`."""
    book = await partitions.book(session)
    found = list[Any]()  # the newest first
    place = book.upto if upto is None else upto
    while len(found) < limit and (piece := book.last(place)) is not None:
        query = _of(piece).order_by(col(Quote.seq).desc()).limit(limit - len(found))
        found += (await (await session.connection()).execute(query)).all()
        place = piece.after
    return cast("Sequence[Quote]", found)[::-1]


async def with_seq(session: AsyncSession, seq: int) -> Quote | None:
    """The quote with this seq, whether it is streamed or not."""
    origin, minute = col(Quote.origin), col(Quote.minute)
    for since, until in await partitions.holding(session, seq):
        with_it = select(Quote).where(col(Quote.seq) == seq, minute >= since, minute < until)
        for kind in (origin != Origin.BACKFILLED, origin == Origin.BACKFILLED):  # an index for each
            if quote := (await session.exec(with_it.where(kind))).first():
                return quote
    return None


# In one statement, since each takes a round of the event loop, and a busy one has long rounds. In
# which months the quotes are is guessed before, and `oldest` tells whether that was right.
_NEWS = text(
    """
    SELECT high_water.seq AS last, clock_timestamp() - advanced_at AS last_age,
           retired_before,
           (SELECT greatest(min(since), :beginning) FROM partitions
            WHERE last_streamed >= :since HAVING count(*) > 0) AS oldest,
           one.*
    FROM high_water
    LEFT JOIN LATERAL (
        SELECT ticker, minute, price, observed_at, exact_time, source, origin, seq
        FROM quotes
        WHERE seq >= :since AND seq <= high_water.seq AND origin <> 'BACKFILLED'
          AND minute >= :guessed
        ORDER BY seq
        LIMIT :limit
    ) AS one ON true
    """
).bindparams(
    bindparam("since", type_=BigInteger),
    bindparam("limit", type_=Integer),
    bindparam("beginning", partitions.BEGINNING, type_=DateTime(timezone=True)),
    bindparam("guessed", type_=DateTime(timezone=True)),
)


@dataclass(frozen=True, slots=True)
class News:
    """What follows in the log."""

    quotes: Sequence[Quote]
    last: int  # seq
    age: timedelta | None  # of that, by the database's clock; None where there never was one
    retired_before: datetime | None  # minutes before it are no longer kept
    oldest: datetime  # no minute of `quotes`, nor of what follows them, is older


async def news(session: AsyncSession, *, since: int, limit: int, oldest: datetime) -> News:
    """The first streamed quotes with seq >= since, at most `limit`.

    None of them is left out because it is older than `oldest`, which is a guess for fewer
    partitions to be read.
    """
    connection = await session.connection()
    while True:
        parameters = {"since": since, "limit": limit, "guessed": oldest}
        rows = (await connection.execute(_NEWS, parameters)).all()
        first = rows[0]
        if first.oldest is None or first.oldest >= oldest:
            quotes = [row for row in rows if row.seq is not None]
            found = cast("Sequence[Quote]", quotes)
            return News(
                found, first.last, first.last_age, first.retired_before, first.oldest or oldest
            )
        oldest = first.oldest
