"""An index for replays of some tickers, which read no other ticker's quotes by it.

It is built beside the writers, which go on: a minute or so for ten million quotes. One that was
interrupted is built anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = "quotes_stream_of_ticker"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(NAME, if_exists=True, postgresql_concurrently=True)
        op.create_index(
            NAME,
            "quotes",
            ["ticker", "seq"],
            postgresql_where=sa.text("origin <> 'BACKFILLED'"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(NAME, table_name="quotes", if_exists=True, postgresql_concurrently=True)
