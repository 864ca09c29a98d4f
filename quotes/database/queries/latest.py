"""The newest quotes, read without SQLAlchemy, which would take several times as long."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, cast

from quotes.database.connections import CONNECT_TIMEOUT, Pool
from quotes.database.errors import translated
from quotes.database.log.store import RECENT
from quotes.database.models import Quote

_NEWEST = """
    SELECT one.* FROM unnest($1::text[]) AS wanted (name), LATERAL (
        SELECT ticker, minute, price, observed_at, exact_time, source, origin, seq
        FROM quotes WHERE ticker = name {recent} ORDER BY minute DESC LIMIT 1
    ) AS one
"""
_RECENT = _NEWEST.format(recent="AND minute >= $2")
_OF_ALL_TIME = _NEWEST.format(recent="")


class Row(NamedTuple):
    """A quote's attributes."""

    ticker: str
    minute: datetime
    price: Decimal
    observed_at: datetime
    exact_time: bool
    source: str
    origin: str
    seq: int


async def newest(pool: Pool, tickers: Collection[str]) -> Mapping[str, Quote]:
    """The newest quote of each of the tickers that has one. Raises DatabaseError."""
    with translated():
        async with pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
            rows = await connection.fetch(_RECENT, list(tickers), datetime.now(UTC) - RECENT)
            if lacking := set(tickers) - {row["ticker"] for row in rows}:
                rows += await connection.fetch(_OF_ALL_TIME, list(lacking))
    return {row["ticker"]: cast("Quote", Row(*row)) for row in rows}
