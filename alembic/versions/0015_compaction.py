"""A key of its own for each partition of the quotes, and which of them are compacted.

The partitions keep the indexes that they have. They are read through once, beside readers and
writers, so that these then wait for some milliseconds only. Where this was interrupted, it begins
anew.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ATTEMPTS = 60  # at locking the table, each of a second: a reader holds it for ten at most

COVERING = "(ticker, minute) INCLUDE (observed_at, seq, price, source, origin, exact_time)"
PARTITIONS = """
    SELECT name, pg_get_expr(relpartbound, oid) AS bounds,
           pg_get_partition_constraintdef(oid) AS condition
    FROM partitions JOIN pg_class ON oid = to_regclass(name)
"""
# In the database, so that nobody can go past it who deletes or changes quotes by hand.
COUNT = """
    CREATE FUNCTION count_changes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE partitions SET changes = changes + 1
        WHERE EXISTS (SELECT FROM changed WHERE minute >= since AND minute < until);
        RETURN NULL;
    END $$
"""
COUNTED = """
    CREATE TRIGGER count_{event}s AFTER {event} ON quotes
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_changes()
"""
# Those whose key does not include the columns.
COMPACTED = """
    SELECT name FROM partitions JOIN pg_constraint ON conrelid = to_regclass(name)
    JOIN pg_index ON indexrelid = conindid
    WHERE contype = 'p' AND indnatts = indnkeyatts
"""


def upgrade() -> None:
    for name, _, condition in op.get_bind().execute(sa.text(PARTITIONS)).all():
        with op.get_context().autocommit_block():
            op.execute("SET lock_timeout = '5s'")
            op.execute(
                f"ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {name}_bounds,"
                f" ADD CONSTRAINT {name}_bounds CHECK ({condition}) NOT VALID"
            )
            op.execute(f"ALTER TABLE {name} VALIDATE CONSTRAINT {name}_bounds")
            op.execute("RESET lock_timeout")
    lock()
    partitions = op.get_bind().execute(sa.text(PARTITIONS)).all()
    # With the table's key all those of its partitions would go.
    for name, _, _ in partitions:
        op.execute(f"ALTER TABLE quotes DETACH PARTITION {name}")
    op.execute("ALTER TABLE quotes DROP CONSTRAINT quotes_pkey")
    for name, bounds, _ in partitions:
        op.execute(f"ALTER TABLE quotes ATTACH PARTITION {name} {bounds}")
        op.execute(f"ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {name}_bounds")
    op.add_column(
        "partitions", sa.Column("changes", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("partitions", sa.Column("compacted_at", sa.DateTime(timezone=True)))
    op.execute(COUNT)
    for event in ("delete", "update"):
        op.execute(COUNTED.format(event=event))


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


def downgrade() -> None:
    """The keys of compacted months are built anew, beside readers and writers."""
    compacted = op.get_bind().scalars(sa.text(COMPACTED)).all()
    for name in compacted:
        with op.get_context().autocommit_block():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}_covering")
            op.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {name}_covering ON {name} {COVERING}")
    lock()
    for name in compacted:
        op.execute(
            f"ALTER TABLE {name} DROP CONSTRAINT {name}_pkey,"
            f" ADD CONSTRAINT {name}_pkey PRIMARY KEY USING INDEX {name}_covering"
        )
    op.execute(f"ALTER TABLE quotes ADD CONSTRAINT quotes_pkey PRIMARY KEY {COVERING}")
    for event in ("delete", "update"):
        op.execute(f"DROP TRIGGER count_{event}s ON quotes")
    op.execute("DROP FUNCTION count_changes")
    op.drop_column("partitions", "compacted_at")
    op.drop_column("partitions", "changes")
