"""Where a ticker's streamed quotes are, by hours, in place of an index of each of them.

What is stored already is read through once, in the order of the log, beside readers and writers.
Then these wait for some milliseconds. Where this was interrupted, it begins anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

CHUNK = 20_000  # quotes in a transaction
REST = 1_000  # that are read while writers wait

TABLE = """
    CREATE TABLE runs (
        first_seq bigint NOT NULL,
        hour timestamptz NOT NULL,
        ticker text NOT NULL,
        CONSTRAINT runs_pkey PRIMARY KEY (ticker, first_seq)
    )
"""
# Quotes whose seqs follow those that the table has runs of.
RUNS = """
    INSERT INTO runs (ticker, first_seq, hour)
    SELECT ticker, seq, hour
    FROM (
        SELECT ticker, seq, hour, lag(hour) OVER (PARTITION BY ticker ORDER BY seq) AS before
        FROM {quotes}, LATERAL (SELECT date_trunc('hour', minute, 'UTC') AS hour) AS its
        WHERE origin <> 'BACKFILLED' AND {these}
    ) AS streamed
    WHERE hour IS DISTINCT FROM coalesce(before, (
        SELECT runs.hour FROM runs WHERE runs.ticker = streamed.ticker
        ORDER BY first_seq DESC LIMIT 1
    ))
"""
FILL = sa.text(RUNS.format(quotes="quotes", these="seq > :after AND seq <= :upto"))
# In the database, so that no writer can go past it, of whatever release. seqs only ever grow, but
# where the log was put back by hand, which leaves runs of quotes that are gone.
RECORD = """
    CREATE FUNCTION record_runs() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        first bigint := (SELECT min(seq) FROM stored WHERE origin <> 'BACKFILLED');
    BEGIN
        IF first <= (SELECT max(last_streamed) FROM partitions) THEN
            DELETE FROM runs WHERE first_seq >= first;
        END IF;
        {insert};
        RETURN NULL;
    END $$
"""
# Triggers fire in the order of their names: this one before `partitions` has the new seqs.
RECORDED = """
    CREATE TRIGGER record_runs AFTER INSERT ON quotes
    REFERENCING NEW TABLE AS stored FOR EACH STATEMENT EXECUTE FUNCTION record_runs()
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '5s'")
        op.execute("DROP TRIGGER IF EXISTS record_runs ON quotes")
        op.execute("DROP FUNCTION IF EXISTS record_runs")
        op.execute("DROP TABLE IF EXISTS runs")
        op.execute(TABLE)
        op.execute("RESET lock_timeout")
        done = 0
        while (last := high_water()) - done > REST:
            done = fill(done, min(last, done + CHUNK))
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SELECT FROM high_water FOR UPDATE")
    fill(done, high_water())
    op.execute(RECORD.format(insert=RUNS.format(quotes="stored", these="true")))
    op.execute(RECORDED)
    with op.get_context().autocommit_block():
        for name in partitions():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}_stream_of_ticker")


def high_water() -> int:
    return int(op.get_bind().scalar(sa.text("SELECT seq FROM high_water")))


def fill(after: int, upto: int) -> int:
    op.get_bind().execute(FILL, {"after": after, "upto": upto})
    return upto


def partitions() -> list[str]:
    return list(op.get_bind().scalars(sa.text("SELECT name FROM partitions ORDER BY name")))


def downgrade() -> None:
    """Writers wait while the index is built."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SELECT FROM high_water FOR UPDATE")
    op.execute("DROP TRIGGER record_runs ON quotes")
    op.execute("DROP FUNCTION record_runs")
    op.drop_table("runs")
    for name in partitions():
        op.create_index(
            f"{name}_stream_of_ticker", name, ["ticker", "seq"],
            postgresql_where=sa.text("origin <> 'BACKFILLED'"),
        )  # fmt: skip
