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
SHARED = "SELECT pg_total_relation_size('hours') + pg_total_relation_size('partitions')"


async def report(url: str) -> None:
    """Bytes a quote, in Markdown: of months that are over, of the rest, and of all."""
    connection = await asyncpg.connect(url)
    now, whole = datetime.now(UTC), "all of it"
    sizes: dict[tuple[str, str], int] = defaultdict(int)  # by part, and kind of month
    quotes: dict[str, int] = defaultdict(int)
    for name, until in await connection.fetch("SELECT name, until FROM partitions"):
        count = await connection.fetchval(f'SELECT count(*) FROM "{name}"')  # noqa: S608  # ours
        for kind in (_kind(until, now), whole):
            quotes[kind] += count
    for _, until, part, size in await connection.fetch(PARTS):
        for kind in (_kind(until, now), whole):
            sizes[part, kind] += size
            sizes["in all", kind] += size
    shared = await connection.fetchval(SHARED)
    await connection.close()
    for kind, count in quotes.items():
        sizes["the hours", kind] = round(shared * count / quotes[whole])
        sizes["in all", kind] += sizes["the hours", kind]
    parts = [*dict.fromkeys(part for part, _ in sizes if part != "in all"), "in all"]
    lines = [
        [part, *(f"{sizes[part, kind] / max(1, count):.1f}" for kind, count in quotes.items())]
        for part in parts
    ]
    heads = [f"{kind}: {count:,} quotes" for kind, count in quotes.items()]
    print(table(["bytes a quote", *heads], lines), flush=True)


def _kind(until: datetime, now: datetime) -> str:
    return "months that are over" if until <= now else "this month"
