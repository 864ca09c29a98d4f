"""An index by which the quote of a cursor is found, also where that quote is not streamed.

Writers wait while it is built, for as long as reading the table once takes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index(
        "quotes_history",
        "quotes",
        ["seq"],
        unique=True,
        postgresql_where=sa.text("origin = 'BACKFILLED'"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("quotes_history", "quotes")
