"""What files of quotes are made of: lines that the database writes, a day at a time."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from quotes.database.connections import CONNECT_TIMEOUT, Pool
from quotes.database.errors import translated
from quotes.database.log.fingerprints import FINGERPRINT
from quotes.database.log.store import Span
from quotes.database.queries.json_pages import COLUMNS, Column, Row, expression

NAMES = ("ticker", "at", "price", "observedAt", "exactTime", "source", "origin")

# As RFC 4180 has it; of these only a source could hold what must be quoted.
_CSV = {
    **{name: COLUMNS[name].sql for name in ("exactTime", "observedAt", "origin", "price")},
    "ticker": "ticker",
    "at": "to_char(minute AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    "source": "CASE WHEN source ~ '[\",\\n\\r]' THEN '\"' || replace(source, '\"', '\"\"') || '\"'"
    " ELSE source END",
}
_CSV["observedAt"] += " || 'Z'"


def _row(columns: dict[str, Column], between: str, names: dict[str, str]) -> Row:
    row: list[str | Column] = []
    for place, name in enumerate(NAMES):
        row += [(between if place else "") + names[name], columns[name]]
    return tuple(row)


CSV_ROW = (
    *_row({name: Column(sql) for name, sql in _CSV.items()}, ",", dict.fromkeys(NAMES, "")),
    "\n",
)
JSON_ROW = ("{", *_row(COLUMNS, ",", {name: f'"{name}":' for name in NAMES}), "}\n")


@dataclass(frozen=True, slots=True)
class Version:
    """What a span holds: with the same version, the same quotes.

    Quotes are never changed, and a new one has a seq of its own; one that is removed is missing in
    the count.
    """

    count: int
    last: int  # the highest seq; 0 without quotes
    fingerprint: str  # of the quote with that seq: a restored log assigns the same seqs again
    first: datetime | None  # the oldest minute
    newest: datetime | None


_VERSION = f"""
    SELECT count, coalesce(last, 0) AS last, coalesce(fingerprint, '') AS fingerprint, first, newest
    FROM (
        SELECT count(*) AS count, max(seq) AS last, min(minute) AS first, max(minute) AS newest
        FROM quotes WHERE ticker = $1 AND minute >= $2 AND minute < $3
    ) AS whole
    LEFT JOIN LATERAL (
        SELECT {FINGERPRINT} AS fingerprint
        FROM quotes WHERE ticker = $1 AND minute >= $2 AND minute < $3 AND seq = last
        LIMIT 1
    ) AS one ON true
"""  # noqa: S608  # our own text alone


async def version(pool: Pool, span: Span) -> Version:
    """Of a span with both bounds. Raises DatabaseError."""
    with translated():
        async with pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
            found = await connection.fetchrow(_VERSION, span.ticker, span.since, span.until)
    return Version(*found)


async def page(pool: Pool, span: Span, upto: int, row: Row) -> tuple[str, int]:
    """The lines of a span's quotes with seq <= upto, oldest first, and how many they are.

    So pages that are read one after the other are all of one moment, though more is committed
    meanwhile. Raises DatabaseError.
    """
    with translated():
        async with pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
            text, count = await connection.fetchrow(
                _page(row), span.ticker, span.since, span.until, upto
            )
    return text or "", count


@cache  # of two rows
def _page(row: Row) -> str:
    return f"""
        SELECT string_agg({expression(row)}, ''), count(*)
        FROM (
            SELECT ticker, minute, price, observed_at, exact_time, source, origin
            FROM quotes
            WHERE ticker = $1 AND minute >= $2 AND minute < $3 AND seq <= $4
            ORDER BY minute
        ) AS in_order
    """  # noqa: S608  # our own text alone
