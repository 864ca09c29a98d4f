"""What there is one of in a whole installation: the backfill, and the database's size."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

_TOTALS = """
    SELECT pg_database_size(current_database()) AS bytes,
           (SELECT count(*) FROM backfills
            WHERE finished_at IS NULL AND ticker = ANY ($1)) AS charts
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """As of when they were read."""

    database_bytes: int
    unfinished_charts: int  # of the exchange's history


async def read(connection: Any, tickers: Collection[str], *, within: float) -> Totals:
    """By a connection of the driver's, within seconds. Raises the driver's exceptions."""
    row = await connection.fetchrow(_TOTALS, list(tickers), timeout=within)
    return Totals(row["bytes"], row["charts"])
