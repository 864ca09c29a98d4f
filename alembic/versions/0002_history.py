"""The hourly rollup of the quotes, and which history was backfilled.

Quotes stored by an older release's worker after this are missing from the rollup until the next one
of their hour: upgrade the workers soon after.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FILL = """
    INSERT INTO hours (ticker, hour, open, high, low, close, high_at, low_at,
                       count, minutes, repaired)
    SELECT ticker, hour,
           (array_agg(price ORDER BY minute))[1], max(price), min(price),
           (array_agg(price ORDER BY minute DESC))[1],
           (array_agg(minute ORDER BY price DESC, minute))[1],
           (array_agg(minute ORDER BY price, minute))[1],
           count(*), bit_or(1::bigint << place),
           coalesce(bit_or(1::bigint << place) FILTER (WHERE origin = 'REPAIRED'), 0)
    FROM quotes,
    LATERAL (SELECT date_trunc('hour', minute, 'UTC') AS hour) AS whole,
    LATERAL (SELECT (extract(epoch FROM minute - hour) / 60)::int AS place) AS within
    GROUP BY ticker, hour
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "hours",
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open", sa.Numeric(), nullable=False),
        sa.Column("high", sa.Numeric(), nullable=False),
        sa.Column("low", sa.Numeric(), nullable=False),
        sa.Column("close", sa.Numeric(), nullable=False),
        sa.Column("high_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("low_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.SmallInteger(), nullable=False),
        sa.Column("minutes", sa.BigInteger(), nullable=False),
        sa.Column("repaired", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ticker", "hour", name="hours_pkey"),
    )
    op.create_table(
        "backfills",
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("range", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("ticker", "range", name="backfills_pkey"),
    )
    op.execute("SELECT FROM high_water FOR UPDATE")  # writers wait until the fill is committed
    op.execute(FILL)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("backfills")
    op.drop_table("hours")
