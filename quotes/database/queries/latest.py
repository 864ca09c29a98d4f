"""The newest quotes, read without SQLAlchemy, which would take several times as long."""

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, cast

from quotes.database.connections import CONNECT_TIMEOUT, Pool
from quotes.database.errors import translated
from quotes.database.models import Quote

_NEWEST = """
    SELECT one.* FROM unnest($1::text[]) AS wanted (name), LATERAL (
        SELECT ticker, minute, price, observed_at, source, origin, seq
        FROM quotes WHERE ticker = name ORDER BY minute DESC LIMIT 1
    ) AS one
"""


class Row(NamedTuple):
    """A quote's attributes."""

    ticker: str
    minute: datetime
    price: Decimal
    observed_at: datetime
    source: str
    origin: str
    seq: int


async def newest(pool: Pool, tickers: Collection[str]) -> Mapping[str, Quote]:
    """The newest quote of each of the tickers that has one. Raises DatabaseError."""
    with translated():
        async with pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
            rows = await connection.fetch(_NEWEST, list(tickers))
    return {row["ticker"]: cast("Quote", Row(*row)) for row in rows}
