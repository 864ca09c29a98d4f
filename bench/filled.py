"""The database of bench/queries: 100 days of minutes of 20 tickers."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
from workloads import DAY, DAYS, TICKERS, TODAY, Writer

from quotes.database.maintenance import migrations
from quotes.database.sessions import Sessions, open_engine
from quotes.local.embedded import Postgres

FILL = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT ticker, minute,
           round((100000 + 900 * sin(extract(epoch FROM minute) / 9000 + place))::numeric, 2),
           minute + interval '1.234567 s', 'deribit', 'LIVE',
           row_number() OVER (ORDER BY minute, place)
    FROM generate_series($1::timestamptz, $2, interval '1 minute') AS minute,
         unnest($3::text[]) WITH ORDINALITY AS named (ticker, place)
"""
# What PostGraphile is asked by, so that both ask for the same rows in one statement.
FUNCTIONS = """
    CREATE FUNCTION newest_quotes(tickers text[]) RETURNS SETOF quotes LANGUAGE sql STABLE AS $$
        SELECT one.* FROM unnest(tickers) AS wanted (name), LATERAL (
            SELECT * FROM quotes WHERE ticker = name ORDER BY minute DESC LIMIT 1) AS one
    $$;
    CREATE FUNCTION quotes_between(name text, since timestamptz, until timestamptz, most int)
    RETURNS SETOF quotes LANGUAGE sql STABLE AS $$
        SELECT * FROM quotes WHERE ticker = name AND minute >= since AND minute < until
        ORDER BY minute LIMIT most
    $$;
    CREATE FUNCTION hours_between(name text, since timestamptz, until timestamptz)
    RETURNS SETOF hours LANGUAGE sql STABLE AS $$
        SELECT * FROM hours WHERE ticker = name AND hour >= since AND hour < until ORDER BY hour
    $$;
"""


@asynccontextmanager
async def filled() -> AsyncIterator[tuple[str, int, Writer]]:
    """A database with the quotes: its URL, its process, and what writes to it."""
    folder = Path(tempfile.mkdtemp(prefix="quotes-queries-"))
    await asyncio.to_thread(folder.chmod, 0o755)  # its servers run as a user of their own
    server = Postgres(folder / "postgres", options={"fsync": "off", "synchronous_commit": "off"})
    await server.start()
    try:
        await asyncio.to_thread(migrations.migrate, server.url, "0001")
        end = datetime.now(UTC).replace(second=0, microsecond=0)
        await fill(server.url, end)
        await asyncio.to_thread(migrations.migrate, server.url)
        connection = await asyncpg.connect(server.url)
        await connection.execute(FUNCTIONS)
        await connection.execute("VACUUM ANALYZE")
        postmaster = await asyncio.to_thread((server.folder / "data" / "postmaster.pid").read_text)
        await connection.close()
        async with open_engine(server.url, name="bench") as engine:
            yield server.url, int(postmaster.split()[0]), Writer(Sessions(engine), end)
    finally:
        await server.stop()
        shutil.rmtree(folder)


async def fill(url: str, end: datetime) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(FILL, TODAY - DAYS * DAY, end, TICKERS)
    # Late rows find their minutes missing.
    late = TODAY - 5 * DAY
    await connection.execute(
        "DELETE FROM quotes WHERE ticker = $1 AND minute >= $2 AND minute < $3",
        TICKERS[3], late, late + timedelta(hours=6),
    )  # fmt: skip
    await connection.execute("UPDATE high_water SET seq = (SELECT max(seq) FROM quotes)")
    await connection.close()
