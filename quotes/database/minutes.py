"""What collecting a minute reads and writes besides quotes.

Each function runs in the transaction of the session it is given, and never commits.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ARRAY, DateTime, Integer, Text, bindparam, text
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.models import Failure
from quotes.market.coverage import MINUTE
from quotes.market.sources import HALTS

_MISSING = text(
    """
    SELECT wanted.ticker FROM unnest(:tickers) WITH ORDINALITY AS wanted (ticker, place)
    WHERE NOT EXISTS (
        SELECT FROM quotes WHERE quotes.ticker = wanted.ticker AND quotes.minute = :minute
    )
    ORDER BY wanted.place
    """
).bindparams(
    bindparam("tickers", type_=ARRAY(Text)), bindparam("minute", type_=DateTime(timezone=True))
)


async def missing(session: AsyncSession, minute: datetime, tickers: Sequence[str]) -> list[str]:
    """Those of the tickers that have no quote for the minute, in their order."""
    parameters = {"tickers": list(tickers), "minute": minute}
    connection = await session.connection()
    return list((await connection.scalars(_MISSING, parameters)).all())


_HALTED = text(
    """
    SELECT date_bin('1 hour', minute, '2000-01-01 00:00+00') AS hour,
           bit_or(1::bigint << extract(minute FROM minute AT TIME ZONE 'UTC')::int) AS bits
    FROM failures
    WHERE ticker = :ticker AND minute >= :since AND minute < :until AND cause = ANY (:causes)
    GROUP BY 1
    """
).bindparams(
    bindparam("since", type_=DateTime(timezone=True)),
    bindparam("until", type_=DateTime(timezone=True)),
    bindparam("causes", type_=ARRAY(Text)),
)


async def halted(
    session: AsyncSession, ticker: str, since: datetime, until: datetime
) -> set[datetime]:
    """The minutes of [since, until) for which the exchange itself made no price."""
    causes = [cause.value for cause in HALTS]
    parameters = {"ticker": ticker, "since": since, "until": until, "causes": causes}
    rows = (await (await session.connection()).execute(_HALTED, parameters)).all()
    return {
        hour + number * MINUTE for hour, bits in rows for number in range(60) if bits >> number & 1
    }


_RECORD = text(
    """
    INSERT INTO failures (ticker, minute, cause, message, failed_at, attempts)
    SELECT DISTINCT ON (ticker, minute) failed.*
    FROM unnest(:tickers, :minutes, :causes, :messages, :moments, :attempts)
         AS failed (ticker, minute, cause, message, failed_at, attempts)
    WHERE NOT EXISTS (
        SELECT FROM quotes WHERE quotes.ticker = failed.ticker AND quotes.minute = failed.minute
          AND quotes.minute >= :first AND quotes.minute <= :latest
    )
    ORDER BY ticker, minute, failed_at DESC
    ON CONFLICT (ticker, minute) DO UPDATE SET
        cause = EXCLUDED.cause, message = EXCLUDED.message, failed_at = EXCLUDED.failed_at,
        attempts = failures.attempts + EXCLUDED.attempts
    """
).bindparams(
    bindparam("tickers", type_=ARRAY(Text)),
    bindparam("minutes", type_=ARRAY(DateTime(timezone=True))),
    bindparam("causes", type_=ARRAY(Text)),
    bindparam("messages", type_=ARRAY(Text)),
    bindparam("moments", type_=ARRAY(DateTime(timezone=True))),
    bindparam("attempts", type_=ARRAY(Integer)),
    bindparam("first", type_=DateTime(timezone=True)),
    bindparam("latest", type_=DateTime(timezone=True)),
)


async def record_failures(session: AsyncSession, failures: Sequence[Failure]) -> None:
    """Record why tickers have no quote for a minute; a later cause replaces an earlier one.

    Minutes that have a quote are skipped.
    """
    if failures:
        minutes = [each.minute for each in failures]
        parameters = {
            "tickers": [each.ticker for each in failures],
            "minutes": minutes,
            "first": min(minutes),
            "latest": max(minutes),
            "causes": [each.cause for each in failures],
            "messages": [each.message for each in failures],
            "moments": [each.failed_at for each in failures],
            "attempts": [each.attempts for each in failures],
        }
        await (await session.connection()).execute(_RECORD, parameters)
