"""The tables."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel


class Origin(StrEnum):
    """How a quote was obtained."""

    LIVE = "LIVE"  # received from the exchange within its own minute
    REPAIRED = "REPAIRED"  # filled in soon after, from the exchange's chart; also streamed
    BACKFILLED = "BACKFILLED"  # history, read by queries and never streamed


class Quote(SQLModel, table=True):
    """One ticker's price for one minute. Written once, by `store.insert`, and never changed.

    Partitioned by month. Each partition has this key, and indexes by seq, of its own, of which
    `partitions` tells: the whole table has none.
    """

    __tablename__ = "quotes"
    __table_args__ = (
        PrimaryKeyConstraint("ticker", "minute"),
        CheckConstraint("price > 0 AND price < 'Infinity'", name="quotes_price_is_a_price"),
        CheckConstraint("date_trunc('minute', minute, 'UTC') = minute", name="quotes_whole_minute"),
        CheckConstraint(
            "origin IN ('LIVE', 'REPAIRED', 'BACKFILLED')", name="quotes_origin_is_known"
        ),
        {"postgresql_partition_by": "RANGE (minute)"},
    )

    ticker: str = Field(sa_type=Text)
    minute: datetime = Field(sa_type=DateTime(timezone=True))
    price: Decimal = Field(sa_type=Numeric)  # no scale: the exchange's digits, however many
    observed_at: datetime = Field(sa_type=DateTime(timezone=True))
    # Whether `observed_at` is the price's own time, as the exchange's WebSocket reports it.
    exact_time: bool = Field(default=False, sa_type=Boolean)
    source: str = Field(sa_type=Text)
    origin: Origin = Field(sa_type=Text)
    # Its position in commit order: 1, 2, 3, ... without a gap. 0 until it is stored.
    seq: int = Field(default=0, sa_type=BigInteger)


class Partition(SQLModel, table=True):
    """A partition of `quotes`, and which seqs it can hold.

    A trigger of `quotes` widens these ranges in the transaction that stores a quote, whoever stores
    it; nothing narrows them. So no quote has its seq outside of them.
    """

    __tablename__ = "partitions"
    __table_args__ = (PrimaryKeyConstraint("name", name="partitions_pkey"),)

    name: str = Field(sa_type=Text)  # the table's
    since: datetime = Field(sa_type=DateTime(timezone=True))  # included
    until: datetime = Field(sa_type=DateTime(timezone=True))  # excluded
    # None where it holds no such quote.
    first_streamed: int | None = Field(default=None, sa_type=BigInteger)
    last_streamed: int | None = Field(default=None, sa_type=BigInteger)
    first_backfilled: int | None = Field(default=None, sa_type=BigInteger)
    last_backfilled: int | None = Field(default=None, sa_type=BigInteger)
    # How many statements deleted or changed quotes of it, as another trigger counts.
    changes: int = Field(default=0, sa_type=BigInteger)
    # None until it is; see `compaction`.
    compacted_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class Run(SQLModel, table=True):
    """From this seq on, until its next run's, a ticker's streamed quotes are of this hour.

    So a replay finds them by their minutes, and needs no index of each ticker's seqs. A trigger of
    `quotes` adds the runs in the transaction that stores their quotes, whoever stores them: one for
    each hour, and more where quotes of an earlier hour come late.
    """

    __tablename__ = "runs"
    __table_args__ = (PrimaryKeyConstraint("ticker", "first_seq", name="runs_pkey"),)

    ticker: str = Field(sa_type=Text)
    first_seq: int = Field(sa_type=BigInteger)
    hour: datetime = Field(sa_type=DateTime(timezone=True))  # a whole one, in UTC


class HighWater(SQLModel, table=True):
    """One row: the last assigned seq. Locking it makes seq follow commit order."""

    __tablename__ = "high_water"
    __table_args__ = (
        PrimaryKeyConstraint("id", name="high_water_pkey"),
        CheckConstraint("id = 1", name="high_water_one_row"),
    )

    id: int = Field(sa_column=Column(SmallInteger, autoincrement=False, nullable=False))
    seq: int = Field(sa_type=BigInteger)
    # By the database's clock, just before the commit that assigned it; None until there is one.
    advanced_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    # Minutes before it are no longer kept, nor streamed quotes up to that seq; see `retention`.
    retired_before: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    retired_seq: int = Field(default=0, sa_type=BigInteger)


class Failure(SQLModel, table=True):
    """The last reason why a ticker's minute was not collected, even if a retry succeeded."""

    __tablename__ = "failures"
    __table_args__ = (PrimaryKeyConstraint("ticker", "minute", name="failures_pkey"),)

    ticker: str = Field(sa_type=Text)
    minute: datetime = Field(sa_type=DateTime(timezone=True))
    cause: str = Field(sa_type=Text)
    message: str = Field(sa_type=Text)
    failed_at: datetime = Field(sa_type=DateTime(timezone=True))
    attempts: int = Field(sa_type=Integer)


class Part(StrEnum):
    """What sends heartbeats. Any number of workers are one part: one of them is enough."""

    WORKER = "worker"
    SCHEDULER = "scheduler"  # the one that leads


class HeartbeatRow(SQLModel, table=True):
    """The last sign of life of each part."""

    __tablename__ = "heartbeats"
    __table_args__ = (
        PrimaryKeyConstraint("part", name="heartbeats_pkey"),
        CheckConstraint("part IN ('worker', 'scheduler')", name="heartbeats_part_is_known"),
    )

    part: Part = Field(sa_type=Text)
    seen_at: datetime = Field(sa_type=DateTime(timezone=True))  # by the database's clock
    problem: str | None = Field(default=None, sa_type=Text)


class Hour(SQLModel, table=True):
    """One ticker's quotes of one hour, rolled up by `store.insert`; no row if there are none."""

    __tablename__ = "hours"
    __table_args__ = (PrimaryKeyConstraint("ticker", "hour", name="hours_pkey"),)

    ticker: str = Field(sa_type=Text)
    hour: datetime = Field(sa_type=DateTime(timezone=True))  # a whole one, in UTC
    open: Decimal = Field(sa_type=Numeric)
    high: Decimal = Field(sa_type=Numeric)
    low: Decimal = Field(sa_type=Numeric)
    close: Decimal = Field(sa_type=Numeric)
    high_at: datetime = Field(sa_type=DateTime(timezone=True))  # the first minute with this high
    low_at: datetime = Field(sa_type=DateTime(timezone=True))  # the first minute with this low
    count: int = Field(sa_type=SmallInteger)
    # Which minutes have a quote: bit n is the n-th minute of the hour, 0 to 59.
    minutes: int = Field(sa_type=BigInteger)
    repaired: int = Field(sa_type=BigInteger)  # which of them were REPAIRED


class Backfill(SQLModel, table=True):
    """One of the exchange's charts of one ticker, and the result of fetching it."""

    __tablename__ = "backfills"
    __table_args__ = (PrimaryKeyConstraint("ticker", "range", name="backfills_pkey"),)

    ticker: str = Field(sa_type=Text)
    range: str = Field(sa_type=Text)  # one of sources.Range
    # When the ticker was added: later gaps are repaired, older minutes backfilled.
    added_at: datetime = Field(sa_type=DateTime(timezone=True))
    # When it was first fetched completely; until then it is fetched again.
    finished_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    due_at: datetime = Field(sa_type=DateTime(timezone=True))  # and not before
    claimed_until: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    repaired_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    attempts: int = Field(default=0, sa_type=Integer)  # that did not finish it
    left_out: int = Field(default=0, sa_type=Integer)  # unusable points of the last fetch
    reason: str | None = Field(default=None, sa_type=Text)  # why the last fetch did not finish it


class ListedIndex(SQLModel, table=True):
    """An index on the exchange's own list, as that was last received."""

    __tablename__ = "indexes"
    __table_args__ = (PrimaryKeyConstraint("ticker", name="indexes_pkey"),)

    ticker: str = Field(sa_type=Text)


class ConstituentsRow(SQLModel, table=True):
    """What an index is made of: the last that a worker received, and nothing of the past.

    It is written every few seconds, so it is not logged, and its pages have room for the next one.
    """

    __tablename__ = "constituents"
    __table_args__ = (
        PrimaryKeyConstraint("ticker", name="constituents_pkey"),
        {"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": 50}},
    )

    ticker: str = Field(sa_type=Text)
    # By the database's clock: when it came, and when the newest of the prices in use was made.
    received_at: datetime = Field(sa_type=DateTime(timezone=True))
    made_at: datetime = Field(sa_type=DateTime(timezone=True))
    # As quotes.database.constituents writes them; what is selected most often is the shorter one.
    exchanges: list[Any] = Field(sa_type=JSON)
    spreads: list[Any] = Field(sa_type=JSON)


class Token(SQLModel, table=True):
    """Who may query where access tokens are required. The token itself is not stored."""

    __tablename__ = "tokens"
    __table_args__ = (
        PrimaryKeyConstraint("name", name="tokens_pkey"),
        UniqueConstraint("hash", name="tokens_hash_key"),
        CheckConstraint("octet_length(hash) = 32", name="tokens_hash_is_a_sha256"),
    )

    name: str = Field(sa_type=Text)
    hash: bytes = Field(sa_type=LargeBinary)  # SHA-256
    created_at: datetime = Field(sa_type=DateTime(timezone=True))
