"""Signs of life of the processes that collect, and when the log grew last."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "heartbeats",
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.PrimaryKeyConstraint("part", name="heartbeats_pkey"),
        sa.CheckConstraint("part IN ('worker', 'scheduler')", name="heartbeats_part_is_known"),
    )
    op.add_column("high_water", sa.Column("advanced_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("high_water", "advanced_at")
    op.drop_table("heartbeats")
