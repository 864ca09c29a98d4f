"""What came of each chart of the backfill, and when it is to be fetched next."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    moment = sa.DateTime(timezone=True)
    op.add_column("backfills", sa.Column("added_at", moment))
    op.add_column("backfills", sa.Column("due_at", moment))
    op.add_column("backfills", sa.Column("claimed_until", moment))
    op.add_column("backfills", sa.Column("repaired_at", moment))
    op.add_column("backfills", sa.Column("attempts", sa.Integer(), server_default="0"))
    op.add_column("backfills", sa.Column("left_out", sa.Integer(), server_default="0"))
    op.add_column("backfills", sa.Column("reason", sa.Text()))
    op.execute("UPDATE backfills SET added_at = finished_at, due_at = finished_at")
    for name in ("added_at", "due_at", "attempts", "left_out"):
        op.alter_column("backfills", name, nullable=False, server_default=None)
    op.alter_column("backfills", "finished_at", nullable=True)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DELETE FROM backfills WHERE finished_at IS NULL")
    op.alter_column("backfills", "finished_at", nullable=False)
    for name in (
        "added_at", "due_at", "claimed_until", "repaired_at", "attempts", "left_out", "reason",
    ):  # fmt: skip
        op.drop_column("backfills", name)
