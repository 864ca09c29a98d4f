"""Up to where minutes are no longer kept."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("high_water", sa.Column("retired_before", sa.DateTime(timezone=True)))
    op.add_column(
        "high_water", sa.Column("retired_seq", sa.BigInteger(), nullable=False, server_default="0")
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("high_water", "retired_seq")
    op.drop_column("high_water", "retired_before")
