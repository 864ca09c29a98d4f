"""What collecting a minute reads and writes besides quotes.

Each function runs in the transaction of the session it is given, and never commits.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ARRAY, DateTime, Integer, Text, bindparam, text
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.models import Failure

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


_RECORD = text(
    """
    INSERT INTO failures (ticker, minute, cause, message, failed_at, attempts)
    SELECT DISTINCT ON (ticker, minute) failed.*
    FROM unnest(:tickers, :minutes, :causes, :messages, :moments, :attempts)
         AS failed (ticker, minute, cause, message, failed_at, attempts)
    WHERE NOT EXISTS (
        SELECT FROM quotes WHERE quotes.ticker = failed.ticker AND quotes.minute = failed.minute
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
)


async def record_failures(session: AsyncSession, failures: Sequence[Failure]) -> None:
    """Record why tickers have no quote for a minute; a later cause replaces an earlier one.

    Minutes that have a quote are skipped.
    """
    if failures:
        parameters = {
            "tickers": [each.ticker for each in failures],
            "minutes": [each.minute for each in failures],
            "causes": [each.cause for each in failures],
            "messages": [each.message for each in failures],
            "moments": [each.failed_at for each in failures],
            "attempts": [each.attempts for each in failures],
        }
        await (await session.connection()).execute(_RECORD, parameters)
