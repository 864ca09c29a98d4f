"""The exchange's list of its indexes, as it was last received."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "indexes",
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("ticker", name="indexes_pkey"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("indexes")
