"""Days full of quotes, put into the table at once."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from quotes.database.log import partitions, rollup
from quotes.database.sessions import Sessions

CHUNK = 10  # days in a statement, which has a time limit

_FILL = text(
    """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT 'btc_usd', minute, 100000 + (number % 977) * 0.01, minute + interval '1.234567 s',
           'demo', 'LIVE', number
    FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS number,
    LATERAL (SELECT '2026-01-01 00:00+00'::timestamptz + (number - 1) * interval '1 minute'
             AS minute) AS placed
    """
)


async def fill_days(sessions: Sessions, days: int) -> None:
    """Of btc_usd, from 1 January 2026 on; a quote in each minute."""
    async with sessions.begin() as session:
        first = datetime(2026, 1, 1, tzinfo=UTC)
        await partitions.make(session, [first + timedelta(days=day) for day in range(days)])
        connection = await session.connection()
        for begin in range(0, days, CHUNK):
            end = min(begin + CHUNK, days)
            await connection.execute(_FILL, {"first": 1_440 * begin + 1, "last": 1_440 * end})
            since, until = (first + timedelta(days=day) for day in (begin, end))
            await rollup.rebuild(session, "btc_usd", since, until)
        await connection.execute(text("UPDATE high_water SET seq = :seq"), {"seq": 1_440 * days})
