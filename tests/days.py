"""Days full of quotes, put into the table at once."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from quotes.database import partitions, rollup
from quotes.database.sessions import Sessions

_FILL = text(
    """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT 'btc_usd', minute, 100000 + (number % 977) * 0.01, minute + interval '1.234567 s',
           'demo', 'LIVE', number
    FROM generate_series(1, :quotes) AS number,
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
        await connection.execute(_FILL, {"quotes": 1_440 * days})
        await rollup.rebuild(session, "btc_usd", first, first + timedelta(days=days))
        await connection.execute(text("UPDATE high_water SET seq = :seq"), {"seq": 1_440 * days})
