"""The quotes, their numbering, and why a minute is missing."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "quotes",
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "ticker",
            "minute",
            name="quotes_pkey",
            postgresql_include=["price", "observed_at", "source", "origin", "seq"],
        ),
        sa.CheckConstraint("price > 0 AND price < 'Infinity'", name="quotes_price_is_a_price"),
        sa.CheckConstraint(
            "date_trunc('minute', minute, 'UTC') = minute", name="quotes_whole_minute"
        ),
        sa.CheckConstraint(
            "origin IN ('LIVE', 'REPAIRED', 'BACKFILLED')", name="quotes_origin_is_known"
        ),
    )
    op.create_index(
        "quotes_stream",
        "quotes",
        ["seq"],
        unique=True,
        postgresql_where=sa.text("origin <> 'BACKFILLED'"),
    )
    high_water = op.create_table(
        "high_water",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="high_water_pkey"),
        sa.CheckConstraint("id = 1", name="high_water_one_row"),
    )
    op.bulk_insert(high_water, [{"id": 1, "seq": 0}])
    op.create_table(
        "failures",
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("ticker", "minute", name="failures_pkey"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("failures")
    op.drop_table("high_water")
    op.drop_table("quotes")
