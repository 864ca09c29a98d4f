"""The quotes in partitions by month, and whether their time is the price's own.

What is stored already becomes one partition for the past, as it is: nothing is copied. Its rows are
read through once, and its key's index is built anew, beside readers and writers, which go on: some
minutes for ten million quotes. Then they wait for some milliseconds. Where this was interrupted, it
begins anew.
"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ATTEMPTS = 60  # at locking the table, each of a second: a reader holds it for ten at most

KEY = "(ticker, minute) INCLUDE (observed_at, seq, price, source, origin, exact_time)"
FIRST_MONTH = "date_trunc('month', now() + interval '1 day', 'UTC') + interval '1 month'"
CHECKS = """
    CONSTRAINT quotes_price_is_a_price CHECK (price > 0 AND price < 'Infinity'),
    CONSTRAINT quotes_whole_minute CHECK (date_trunc('minute', minute, 'UTC') = minute),
    CONSTRAINT quotes_origin_is_known CHECK (origin IN ('LIVE', 'REPAIRED', 'BACKFILLED'))
"""
# The default serves workers of the release before, until they are upgraded.
PARTITIONED = f"""
    CREATE TABLE quotes (
        minute timestamptz NOT NULL,
        observed_at timestamptz NOT NULL,
        seq bigint NOT NULL,
        ticker text NOT NULL,
        price numeric NOT NULL,
        source text NOT NULL,
        origin text NOT NULL,
        exact_time boolean NOT NULL DEFAULT false,
        CONSTRAINT quotes_pkey PRIMARY KEY {KEY},
        {CHECKS}
    ) PARTITION BY RANGE (minute)
"""
# In the database, so that no writer can go past it, of whatever release.
WIDEN = """
    CREATE FUNCTION widen_partitions() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (
            SELECT FROM stored
            WHERE NOT EXISTS (SELECT FROM partitions WHERE minute >= since AND minute < until)
        ) THEN
            RAISE EXCEPTION 'the partition of a quote is not in the table partitions';
        END IF;
        UPDATE partitions SET
            first_streamed = least(partitions.first_streamed, found.first_streamed),
            last_streamed = greatest(partitions.last_streamed, found.last_streamed),
            first_backfilled = least(partitions.first_backfilled, found.first_backfilled),
            last_backfilled = greatest(partitions.last_backfilled, found.last_backfilled)
        FROM (
            SELECT name,
                   min(seq) FILTER (WHERE origin <> 'BACKFILLED') AS first_streamed,
                   max(seq) FILTER (WHERE origin <> 'BACKFILLED') AS last_streamed,
                   min(seq) FILTER (WHERE origin = 'BACKFILLED') AS first_backfilled,
                   max(seq) FILTER (WHERE origin = 'BACKFILLED') AS last_backfilled
            FROM stored JOIN partitions ON minute >= since AND minute < until
            GROUP BY name
        ) AS found
        WHERE partitions.name = found.name;
        RETURN NULL;
    END $$
"""
WIDENED = """
    CREATE TRIGGER widen_partitions AFTER INSERT ON quotes
    REFERENCING NEW TABLE AS stored FOR EACH STATEMENT EXECUTE FUNCTION widen_partitions()
"""
PAST = """
    INSERT INTO partitions
    SELECT 'quotes_past', '-infinity', :until,
           (SELECT min(seq) FROM quotes_past WHERE origin <> 'BACKFILLED'),
           (SELECT max(seq) FROM quotes_past WHERE origin <> 'BACKFILLED'),
           (SELECT min(seq) FROM quotes_past WHERE origin = 'BACKFILLED'),
           (SELECT max(seq) FROM quotes_past WHERE origin = 'BACKFILLED')
"""
INDEXES = ("stream", "history", "stream_of_ticker")


def upgrade() -> None:
    if op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT FROM quotes)")):
        until = prepare_past()
        lock()
        make_past()
        make_partitioned()
        op.execute(f"ALTER TABLE quotes ATTACH PARTITION quotes_past"
                   f" FOR VALUES FROM (MINVALUE) TO ('{until.isoformat()}')")  # fmt: skip
        op.execute("ALTER TABLE quotes_past DROP CONSTRAINT quotes_past_until")
        op.get_bind().execute(sa.text(PAST), {"until": until})
    else:
        lock()
        op.drop_table("quotes")
        make_partitioned()


def prepare_past() -> datetime:
    """All that takes long, beside readers and writers; returns when the past ends."""
    until = op.get_bind().scalar(sa.text(f"SELECT {FIRST_MONTH}"))
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '5s'")
        op.execute(
            "ALTER TABLE quotes ADD COLUMN IF NOT EXISTS exact_time boolean NOT NULL DEFAULT false"
        )
        op.execute(
            "ALTER TABLE quotes DROP CONSTRAINT IF EXISTS quotes_past_until, ADD CONSTRAINT"
            f" quotes_past_until CHECK (minute < '{until.isoformat()}') NOT VALID"
        )
        op.execute("ALTER TABLE quotes VALIDATE CONSTRAINT quotes_past_until")
        op.execute("RESET lock_timeout")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS quotes_past_pkey")
        op.execute(f"CREATE UNIQUE INDEX CONCURRENTLY quotes_past_pkey ON quotes {KEY}")
    return until


def lock() -> None:
    """Exclude writers, then readers, who wait for a second at most for each attempt."""
    op.execute("SET LOCAL lock_timeout = '1s'")
    for attempt in range(ATTEMPTS):
        try:
            with op.get_bind().begin_nested():
                op.execute("SELECT FROM high_water FOR UPDATE")
                op.execute("LOCK TABLE quotes IN ACCESS EXCLUSIVE MODE")
        except DBAPIError as error:
            if attempt == ATTEMPTS - 1 or "lock timeout" not in str(error):
                raise
        else:
            break
    op.execute("SET LOCAL lock_timeout = '5s'")


def make_past() -> None:
    op.execute("ALTER TABLE quotes RENAME TO quotes_past")
    op.execute(
        "ALTER TABLE quotes_past DROP CONSTRAINT quotes_pkey,"
        " ADD CONSTRAINT quotes_past_pkey PRIMARY KEY USING INDEX quotes_past_pkey"
    )
    for name in INDEXES:
        op.execute(f"ALTER INDEX quotes_{name} RENAME TO quotes_past_{name}")


def make_partitioned() -> None:
    op.create_table(
        "partitions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_streamed", sa.BigInteger()),
        sa.Column("last_streamed", sa.BigInteger()),
        sa.Column("first_backfilled", sa.BigInteger()),
        sa.Column("last_backfilled", sa.BigInteger()),
        sa.PrimaryKeyConstraint("name", name="partitions_pkey"),
    )
    for statement in (PARTITIONED, WIDEN, WIDENED):
        op.execute(statement)


def downgrade() -> None:
    """Writers wait while all quotes are copied into one table."""
    lock()
    op.execute(f"""
        CREATE TABLE quotes_of_all_time (
            ticker text NOT NULL,
            minute timestamptz NOT NULL,
            price numeric NOT NULL,
            observed_at timestamptz NOT NULL,
            source text NOT NULL,
            origin text NOT NULL,
            seq bigint NOT NULL,
            {CHECKS}
        )
    """)
    op.execute(
        "INSERT INTO quotes_of_all_time"
        " SELECT ticker, minute, price, observed_at, source, origin, seq FROM quotes ORDER BY seq"
    )
    op.execute("DROP TABLE quotes, partitions")
    op.execute("DROP FUNCTION widen_partitions")
    op.execute("ALTER TABLE quotes_of_all_time RENAME TO quotes")
    op.execute(
        "ALTER TABLE quotes ADD CONSTRAINT quotes_pkey PRIMARY KEY (ticker, minute)"
        " INCLUDE (price, observed_at, source, origin, seq)"
    )
    streamed, not_streamed = sa.text("origin <> 'BACKFILLED'"), sa.text("origin = 'BACKFILLED'")
    op.create_index("quotes_stream", "quotes", ["seq"], unique=True, postgresql_where=streamed)
    op.create_index("quotes_history", "quotes", ["seq"], unique=True, postgresql_where=not_streamed)
    op.create_index(
        "quotes_stream_of_ticker", "quotes", ["ticker", "seq"], postgresql_where=streamed
    )
