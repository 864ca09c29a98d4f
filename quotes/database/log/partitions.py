"""The partitions of `quotes`, one for each month, and which of them a read of the log needs.

Each function runs in the transaction of the session it is given, and never commits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ARRAY, BigInteger, DateTime, bindparam, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.models import Quote

BEGINNING = datetime(2, 1, 1, tzinfo=UTC)  # of a partition for all of the past

# Quotes are only ever added, so nothing but their number tells when to vacuum: then index-only
# scans need not look at the table, and its rows are frozen at once, never all of them at some time.
TABLE = """
    CREATE TABLE {name} (LIKE quotes INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH (
        autovacuum_vacuum_insert_threshold = 20000, autovacuum_vacuum_insert_scale_factor = 0,
        autovacuum_freeze_min_age = 0
    )
"""
# A key and indexes of its own: those of the whole table would be the same for every partition. seq
# is unique in each partition, and in all of them since it is assigned under `store.lock`.
KEY = "ALTER TABLE {name} ADD CONSTRAINT {name}_pkey PRIMARY KEY (ticker, minute)"
INDEXES = (
    """
    CREATE UNIQUE INDEX {name}_stream ON {name} (seq) WITH (fillfactor = 100)
    WHERE origin <> 'BACKFILLED'
    """,
    # Finds the quote of a cursor that is not streamed.
    """
    CREATE UNIQUE INDEX {name}_history ON {name} (seq) WITH (fillfactor = 100)
    WHERE origin = 'BACKFILLED'
    """,
)
# To attach a table excludes neither readers nor writers; to create it as a partition would.
_MAKE = (
    TABLE,
    # With the columns a day is read by an index-only scan: its quotes are each in a page of its own
    # until the month is compacted.
    KEY + " INCLUDE (observed_at, seq, price, source, origin, exact_time)",
    *INDEXES,
    "ALTER TABLE quotes ATTACH PARTITION {name} FOR VALUES FROM ('{since}') TO ('{until}')",
    "INSERT INTO partitions (name, since, until) VALUES ('{name}', '{since}', '{until}')",
)

_LACKING = text(
    """
    SELECT month FROM unnest(:months) AS wanted (month)
    WHERE NOT EXISTS (SELECT FROM partitions WHERE since <= month AND month < until)
    """
).bindparams(bindparam("months", type_=ARRAY(DateTime(timezone=True))))


async def make(session: AsyncSession, minutes: Iterable[datetime]) -> None:
    """Make the partitions that these minutes need and that do not exist. Under `store.lock`."""
    months = sorted({month_of(minute) for minute in minutes})
    connection = await session.connection()
    for month in (await connection.scalars(_LACKING, {"months": months})).all():
        words = {
            "name": f"quotes_{month:%Y_%m}",
            "since": month.isoformat(),
            "until": after(month).isoformat(),
        }
        for statement in _MAKE:
            await connection.exec_driver_sql(statement.format(**words))


def month_of(minute: datetime) -> datetime:
    return minute.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def after(month: datetime) -> datetime:
    """The month that follows."""
    years, month_number = divmod(month.month, 12)
    return month.replace(year=month.year + years, month=month_number + 1)


@dataclass(frozen=True, slots=True)
class SeqRange:
    """The minutes of a partition, and the seqs of its streamed quotes."""

    since: datetime
    until: datetime  # excluded
    first: int
    last: int  # included


@dataclass(frozen=True, slots=True)
class Piece:
    """Minutes that hold every streamed quote with after < seq <= upto."""

    since: datetime
    until: datetime  # excluded
    after: int
    upto: int


@dataclass(frozen=True, slots=True)
class Book:
    """Where the streamed quotes are, of the log up to `upto`: which stays true as it grows."""

    upto: int
    ranges: Sequence[SeqRange]

    def first(self, after: int, upto: int) -> Piece | None:
        """As many of the first quotes with after < seq <= upto as are in the fewest partitions.

        None if there are none.
        """
        having = [each for each in self.ranges if each.last > after and each.first <= upto]
        if not having:
            return None
        begin = max(after + 1, min(each.first for each in having))
        later = [each.first for each in having if each.first > begin]
        return _piece(
            (each for each in having if each.first <= begin), after, min([upto + 1, *later]) - 1
        )

    def last(self, upto: int) -> Piece | None:
        """As many of the last quotes with seq <= upto as are in the fewest partitions.

        None if there are none.
        """
        having = [each for each in self.ranges if each.first <= upto]
        if not having:
            return None
        end = min(upto, max(each.last for each in having))
        earlier = [each.last for each in having if each.last < end]
        return _piece((each for each in having if each.last >= end), max([0, *earlier]), upto)


def _piece(ranges: Iterable[SeqRange], after: int, upto: int) -> Piece:
    spans = [(each.since, each.until) for each in ranges]
    return Piece(min(since for since, _ in spans), max(until for _, until in spans), after, upto)


_BOOK = text(
    """
    SELECT high_water.seq, greatest(since, :beginning), until, first_streamed, last_streamed
    FROM high_water LEFT JOIN partitions ON first_streamed IS NOT NULL
    """
).bindparams(bindparam("beginning", BEGINNING, type_=DateTime(timezone=True)))


async def book(session: AsyncSession) -> Book:
    rows = (await (await session.connection()).execute(_BOOK)).all()
    return Book(rows[0][0], [SeqRange(*row[1:]) for row in rows if row.until is not None])


_LAST_GROWN = text(
    """
    SELECT greatest(since, :beginning), until FROM partitions
    WHERE first_streamed IS NOT NULL OR first_backfilled IS NOT NULL
    ORDER BY greatest(last_streamed, last_backfilled) DESC
    LIMIT 1
    """
).bindparams(bindparam("beginning", BEGINNING, type_=DateTime(timezone=True)))


async def one_source(session: AsyncSession) -> Sequence[str]:
    """Of any quote, and if it can be of the partition that grew last; none without quotes."""
    query, minute = select(Quote.source).limit(1), col(Quote.minute)
    row = (await (await session.connection()).execute(_LAST_GROWN)).first()
    if row is not None:
        since, until = row
        if found := (await session.exec(query.where(minute >= since, minute < until))).all():
            return found
    return (await session.exec(query)).all()


_HOLDING = text(
    """
    SELECT greatest(since, :beginning), until FROM partitions
    WHERE :seq BETWEEN first_streamed AND last_streamed
       OR :seq BETWEEN first_backfilled AND last_backfilled
    """
).bindparams(
    bindparam("beginning", BEGINNING, type_=DateTime(timezone=True)),
    bindparam("seq", type_=BigInteger),
)


async def holding(session: AsyncSession, seq: int) -> Sequence[tuple[datetime, datetime]]:
    """The minutes, half-open, of each partition that can hold the quote with this seq."""
    rows = (await (await session.connection()).execute(_HOLDING, {"seq": seq})).all()
    return [(since, until) for since, until in rows]
