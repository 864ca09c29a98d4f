"""Pages of quotes that the database writes as JSON, so that no row becomes an object here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from quotes.database.collected import Collected
from quotes.database.connections import CONNECT_TIMEOUT, Pool
from quotes.database.errors import translated
from quotes.database.log.fingerprints import FINGERPRINT
from quotes.database.log.store import Span
from quotes.market.staleness import STALE_AFTER

MAX_STATEMENTS = 256  # texts cached; one for each set of columns that clients select


@dataclass(frozen=True, slots=True)
class Column:
    """A JSON value: an SQL expression, and what stands before and after it."""

    sql: str
    before: str = ""
    after: str = ""


# Each is written as its field of `quotes.api.types.Quote` is. `age`, `halted` and `collected` are
# as `page` computes them.
COLUMNS = {
    "ticker": Column("to_json(ticker)"),
    "price": Column("price", '"', '"'),
    "at": Column("left(to_json(minute AT TIME ZONE 'UTC')::text, -1)", "", 'Z"'),
    "timestamp": Column("extract(epoch FROM minute)::bigint"),
    "observedAt": Column(
        "replace(to_char(observed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'),"
        " '.000000', '')",
        '"',
        'Z"',
    ),
    "exactTime": Column("exact_time::text"),
    "source": Column("to_json(source)"),
    "origin": Column("origin", '"', '"'),
    "cursor": Column(f"seq || '-' || {FINGERPRINT}", '"s', '"'),
    "ageSeconds": Column("floor((extract(epoch FROM age) * 1000000 + 500) / 1000)::float8 / 1000"),
    # As `staleness.is_stale` is for a row in memory.
    "stale": Column(f"(age > interval '{STALE_AFTER.seconds} seconds' OR minute < halted)::text"),
    "collected": Column("collected::text"),
    "pageCursor": Column("extract(epoch FROM minute)::bigint", '"p', '"'),
}

# Of a candle as `history.candles_json` has it, each as its field of the API's `Candle`.
CANDLE_COLUMNS = {
    "openTime": Column("left(to_json(start AT TIME ZONE 'UTC')::text, -1)", "", 'Z"'),
    "closeTime": Column("left(to_json(stop AT TIME ZONE 'UTC')::text, -1)", "", 'Z"'),
    **{name: Column(name, '"', '"') for name in ("open", "high", "low", "close")},
    "count": Column("count"),
    "coverage": Column(
        "count::float8 / greatest(count,"
        " floor(extract(epoch FROM least(stop, :now) - start) / 60)::int)"
    ),
    "complete": Column("(stop <= :now)::text"),
    "filled": Column("'false'"),
}

Row = tuple[str | Column, ...]  # a row's JSON: literal text and columns, in order


@dataclass(frozen=True, slots=True)
class Wanted:
    """At most `limit` quotes of the span, from one end or the other."""

    span: Span
    limit: int
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """The quotes of a page, oldest first, once for each way in which they were requested."""

    rows: Sequence[str]  # JSON, separated by commas
    first: datetime | None  # the oldest minute; None on an empty page
    last: datetime | None
    count: int


async def page(
    pool: Pool, wanted: Wanted, rows: Sequence[Row], now: datetime, collection: Collected
) -> Page:
    """The wanted quotes, with their ages by `now`, and with what is known of their ticker.

    Raises DatabaseError.
    """
    statement = _page(tuple(rows), newest_first=wanted.newest_first)
    span = wanted.span
    ticker = span.ticker
    known = ticker in collection.tickers, collection.halted.get(ticker)  # as `now`, not later
    bounds = span.since, span.until, wanted.limit
    with translated():
        async with pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
            found = await connection.fetchrow(statement, ticker, *bounds, now, *known)
    *texts, first, last, count = found
    return Page([text or "" for text in texts], first, last, count)


@lru_cache(MAX_STATEMENTS)
def _page(rows: tuple[Row, ...], *, newest_first: bool) -> str:
    texts = "".join(f"string_agg({expression(row)}, ','), " for row in rows)
    return f"""
        SELECT {texts} min(minute), max(minute), count(*)
        FROM (
            SELECT * FROM (
                SELECT ticker, minute, price, observed_at, exact_time, source, origin, seq,
                       greatest($5::timestamptz - observed_at, interval '0') AS age,
                       $6::boolean AS collected,
                       coalesce($7::timestamptz, '-infinity') AS halted
                FROM quotes
                WHERE ticker = $1 AND minute >= coalesce($2::timestamptz, '-infinity')
                  AND minute < coalesce($3::timestamptz, 'infinity')
                ORDER BY minute {"DESC" if newest_first else ""} LIMIT $4
            ) AS page ORDER BY minute
        ) AS in_order
    """  # noqa: S608  # names of fields and our own text alone


def expression(row: Row) -> str:
    """SQL for a row's text, with neighbouring literals joined."""
    pieces: list[str] = []
    literal = ""
    for part in row:
        if isinstance(part, str):
            literal += part
        else:
            pieces += [_literal(literal + part.before), f"({part.sql})"]
            literal = part.after
    return " || ".join([*pieces, _literal(literal)])


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


async def exists(pool: Pool, span: Span) -> bool:
    """Whether the span holds a quote."""
    with translated():
        async with pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
            return bool(await connection.fetchval(_EXISTS, span.ticker, span.since, span.until))


_EXISTS = """
    SELECT EXISTS (
        SELECT FROM quotes
        WHERE ticker = $1 AND minute >= coalesce($2::timestamptz, '-infinity')
          AND minute < coalesce($3::timestamptz, 'infinity')
    )
"""
