"""The statements that write and read quotes; `history` and `rollup` hold those about history.

Each function runs in the transaction of the session it is given, and never commits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import TypeVar, cast

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    DateTime,
    Numeric,
    Text,
    bindparam,
    func,
    inspect,
    text,
    true,
)
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from quotes.database.log import partitions, rollup
from quotes.database.models import Failure, HighWater, Quote
from quotes.market.coverage import hour_of
from quotes.market.sources import DEMO, require_one_kind

CHANNEL = "quotes"  # notified by each commit that stored something
# Where a newest quote is looked for first: what has one there needs no other partition.
RECENT = timedelta(days=2)

Row = TypeVar("Row", Quote, Failure)

_INSERT = text(
    """
    INSERT INTO quotes (ticker, minute, price, observed_at, exact_time, source, origin, seq)
    SELECT ticker, minute, price, observed_at, exact_time, source, origin,
           :last + row_number() OVER (ORDER BY minute, ticker)
    FROM (
        SELECT DISTINCT ON (ticker, minute) *
        FROM unnest(:tickers, :minutes, :prices, :observed, :exact, :sources, :origins)
             AS arrived (ticker, minute, price, observed_at, exact_time, source, origin)
        WHERE NOT EXISTS (
            SELECT FROM quotes
            WHERE quotes.ticker = arrived.ticker AND quotes.minute = arrived.minute
              AND quotes.minute >= :first AND quotes.minute <= :latest
        )
        ORDER BY ticker, minute
    ) AS new
    """
).bindparams(
    bindparam("last", type_=BigInteger),
    bindparam("tickers", type_=ARRAY(Text)),
    bindparam("minutes", type_=ARRAY(DateTime(timezone=True))),
    bindparam("prices", type_=ARRAY(Numeric)),
    bindparam("observed", type_=ARRAY(DateTime(timezone=True))),
    bindparam("exact", type_=ARRAY(Boolean)),
    bindparam("first", type_=DateTime(timezone=True)),
    bindparam("latest", type_=DateTime(timezone=True)),
    bindparam("sources", type_=ARRAY(Text)),
    bindparam("origins", type_=ARRAY(Text)),
)


async def insert(session: AsyncSession, quotes: Sequence[Quote]) -> int:
    """Store the quotes whose ticker and minute have none yet; returns how many those were.

    The counter's row is locked first, so writers take turns, and seq follows the order of commits
    without a gap. If none is new, no number is used and nobody is notified. Each `seq` of `quotes`
    is ignored, and so are minutes that are no longer kept. The affected hours are rolled up in the
    same transaction. Raises MixedError, and stores none, if made-up and real prices would be mixed.
    """
    if not quotes:
        return 0
    last, quotes = await _lock_for(session, quotes)
    if not quotes:
        return 0
    sources = {quote.source for quote in quotes}
    require_one_kind(sources.union(await partitions.one_source(session)), made_up=DEMO in sources)
    minutes = [quote.minute for quote in quotes]
    await partitions.make(session, minutes)
    connection = await session.connection()
    inserted = await connection.execute(
        _INSERT,
        {
            "last": last,
            "tickers": [quote.ticker for quote in quotes],
            "minutes": minutes,
            "first": min(minutes),
            "latest": max(minutes),
            "prices": [quote.price for quote in quotes],
            "observed": [quote.observed_at for quote in quotes],
            "exact": [quote.exact_time for quote in quotes],
            "sources": [quote.source for quote in quotes],
            "origins": [quote.origin.value for quote in quotes],
        },
    )
    if inserted.rowcount:
        touched = {(quote.ticker, hour_of(quote.minute)) for quote in quotes}
        await rollup.refresh(session, touched)
        await advance(session, last + inserted.rowcount)
    return inserted.rowcount


async def _lock_for(session: AsyncSession, quotes: Sequence[Quote]) -> tuple[int, Sequence[Quote]]:
    """As `lock`; and those of the quotes whose minutes are kept."""
    query = select(HighWater.seq, HighWater.retired_before).with_for_update()
    last, retired = (await session.exec(query)).one()
    return last, [quote for quote in quotes if retired is None or quote.minute >= retired]


async def prepare(session: AsyncSession, now: datetime) -> None:
    """Make the partitions of this month and the next one, ahead of their first quotes."""
    await lock(session)
    await partitions.make(session, [now, partitions.after(partitions.month_of(now))])


async def lock(session: AsyncSession) -> int:
    """Exclude other writers until this transaction ends; returns the last assigned seq."""
    return (await session.exec(select(HighWater.seq).with_for_update())).one()


async def advance(session: AsyncSession, seq: int) -> None:
    """Assign the seqs up to `seq`, and notify all web processes with the commit. Under `lock`."""
    connection = await session.connection()
    await connection.execute(_ADVANCE, {"seq": seq, "channel": CHANNEL})


# The payload is the new high-water number: never the data, which may outgrow a notification.
_ADVANCE = text(
    "WITH advanced AS "
    "(UPDATE high_water SET seq = :seq, advanced_at = clock_timestamp() RETURNING seq) "
    "SELECT pg_notify(:channel, seq::text) FROM advanced"
)


async def high_water(session: AsyncSession) -> int:
    """The last assigned seq; every quote up to it is visible to any later read."""
    return (await session.exec(select(HighWater.seq))).one()


@cache  # building a statement costs more than running it
def _one_each(
    model: type[Row], *, newest: bool, bounded: bool = False, recent: bool = False
) -> SelectOfScalar[Row]:
    """Of each of :tickers its row with the newest or oldest minute.

    Of those with seq <= :upto where `bounded`, with minute >= :since where `recent`.

    One step down the key for each ticker, however many rows it has.
    """
    array = bindparam("tickers", type_=ARRAY(Text))
    wanted = func.unnest(array).table_valued("ticker", name="wanted").render_derived()
    minute = col(model.minute)
    one = select(model).where(col(model.ticker) == wanted.c.ticker)
    if bounded:
        one = one.where(col(Quote.seq) <= bindparam("upto", type_=BigInteger))
    if recent:
        one = one.where(minute >= bindparam("since", type_=DateTime(timezone=True)))
    order = minute.desc() if newest else minute.asc()
    row = aliased(model, one.order_by(order).limit(1).lateral("one"))
    return select(row).select_from(wanted).join(row, true())


async def newest(
    session: AsyncSession, tickers: Iterable[str], *, upto: int | None = None
) -> Sequence[Quote]:
    """The newest quote of each ticker that has one, in the order of seq; none above `upto`."""
    bounded, lacking = upto is not None, list(tickers)
    parameters = {"upto": upto, "since": datetime.now(UTC) - RECENT}
    query = _one_each(Quote, newest=True, bounded=bounded, recent=True)
    quotes = [*(await session.exec(query, params={**parameters, "tickers": lacking})).all()]
    lacking = [*set(lacking) - {quote.ticker for quote in quotes}]
    if lacking:
        query = _one_each(Quote, newest=True, bounded=bounded)
        quotes += (await session.exec(query, params={**parameters, "tickers": lacking})).all()
    return sorted(quotes, key=attrgetter("seq"))


async def oldest(session: AsyncSession, tickers: Iterable[str]) -> Sequence[Quote]:
    """The oldest quote of each ticker that has one."""
    query = _one_each(Quote, newest=False)
    return (await session.exec(query, params={"tickers": list(tickers)})).all()


async def last_failures(session: AsyncSession, tickers: Iterable[str]) -> Sequence[Failure]:
    """The failure with the newest minute of each ticker that ever failed."""
    query = _one_each(Failure, newest=True)
    return (await session.exec(query, params={"tickers": list(tickers)})).all()


# Hops from each ticker to the next over the key of the hours, of which each quote has one: as many
# steps as tickers, however many quotes.
_TICKERS = text(
    """
    WITH RECURSIVE hop (ticker) AS (
        (SELECT ticker FROM hours ORDER BY ticker LIMIT 1)
        UNION ALL
        SELECT (SELECT ticker FROM hours
                WHERE hours.ticker > hop.ticker ORDER BY ticker LIMIT 1)
        FROM hop WHERE hop.ticker IS NOT NULL
    )
    SELECT ticker FROM hop WHERE ticker IS NOT NULL
    """
)


async def tickers(session: AsyncSession) -> Sequence[str]:
    """Every ticker that has a quote."""
    return (await (await session.connection()).scalars(_TICKERS)).all()


@dataclass(frozen=True, slots=True)
class Span:
    """Minutes of one ticker, half-open; None is without a bound."""

    ticker: str
    since: datetime | None = None  # included
    until: datetime | None = None  # excluded


_COLUMNS = inspect(Quote).columns


async def page(
    session: AsyncSession, span: Span, *, limit: int, newest_first: bool = False
) -> Sequence[Quote]:
    """At most `limit` quotes of the span, in the order of minutes, from one end or the other.

    They are rows with a quote's attributes. As objects, a page of 10,000 took 50 to 90 ms longer.
    """
    minute = col(Quote.minute)
    query = select(*_COLUMNS).where(col(Quote.ticker) == span.ticker)
    if span.since is not None:
        query = query.where(minute >= span.since)
    if span.until is not None:
        query = query.where(minute < span.until)
    query = query.order_by(minute.desc() if newest_first else minute.asc()).limit(limit)
    rows = (await (await session.connection()).execute(query)).all()
    return cast("Sequence[Quote]", rows)
