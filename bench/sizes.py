"""What the quotes of a database take on the disk, for each of them."""

from collections import defaultdict
from datetime import UTC, datetime

import asyncpg
from tables import table

# Of each partition what its table and each index take, with what PostgreSQL notes beside them.
PARTS = """
    SELECT name, until, 'the rows' AS part, pg_table_size(name::regclass) AS bytes FROM partitions
    UNION ALL
    SELECT name, until, 'index ' || substr(relname, length(name) + 2), pg_relation_size(indexrelid)
    FROM partitions
    JOIN pg_index ON indrelid = name::regclass
    JOIN pg_class ON pg_class.oid = indexrelid
"""
OTHERS = """
    SELECT 'table ' || relname, pg_total_relation_size(pg_class.oid) FROM pg_class
    LEFT JOIN partitions ON name = relname
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND name IS NULL
"""
NEGLIGIBLE = 1 << 20  # bytes of another table
OVER, OPEN, WHOLE = "months that are over", "this month", "all"


async def report(url: str) -> None:
    """Bytes a quote, in Markdown: of months that are over, of the rest, and of all."""
    connection = await asyncpg.connect(url)
    now = datetime.now(UTC)
    sizes: dict[tuple[str, str], int] = defaultdict(int)  # by part, and kind of month
    quotes = dict.fromkeys((OVER, OPEN, WHOLE), 0)
    for name, until in await connection.fetch("SELECT name, until FROM partitions"):
        count = await connection.fetchval(f'SELECT count(*) FROM "{name}"')  # noqa: S608  # ours
        for kind in (_kind(until, now), WHOLE):
            quotes[kind] += count
    for _, until, part, size in await connection.fetch(PARTS):
        for kind in (_kind(until, now), WHOLE):
            sizes[part, kind] += size
            sizes["in all", kind] += size
    for part, size in await connection.fetch(OTHERS):
        if size > NEGLIGIBLE:
            for kind, count in quotes.items():
                sizes[part, kind] = round(size * count / quotes[WHOLE])
                sizes["in all", kind] += sizes[part, kind]
    await connection.close()
    parts = [*dict.fromkeys(part for part, _ in sizes if part != "in all"), "in all"]
    lines = [
        [part, *(f"{sizes[part, kind] / max(1, count):.1f}" for kind, count in quotes.items())]
        for part in parts
    ]
    heads = [f"{kind}: {count:,} quotes" for kind, count in quotes.items()]
    print(table(["bytes a quote", *heads], lines), flush=True)


def _kind(until: datetime, now: datetime) -> str:
    return OVER if until <= now else OPEN
