"""A quote's fingerprint ties its seq to one history of the log."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import asyncpg
import pytest
from rows import minute, quote

from quotes.database.log.fingerprints import FINGERPRINT, fingerprint
from quotes.database.models import Quote

QUOTE = quote(price="0.000012300")
PRICES = ("0.0000123", "91892.59", "100000", "1E+3", "1.6433E-4", "1234567.123456789012")
MOMENTS = (
    datetime(1970, 1, 1, tzinfo=UTC),
    QUOTE.observed_at,
    datetime(2026, 11, 25, 1, 2, 3, 999_999, tzinfo=UTC),
)


def changed(**change: object) -> Quote:
    return Quote(**{**QUOTE.model_dump(), **change})


OTHERS = [
    changed(ticker="eth_usd"),
    changed(minute=minute(1)),
    changed(price=Decimal("0.000012301")),
    changed(price=Decimal("0.00001230")),  # one digit fewer is another text
    changed(observed_at=QUOTE.observed_at + timedelta(microseconds=1)),
]


@pytest.mark.parametrize("other", OTHERS)
def test_a_quote_that_differs_has_another_fingerprint(other: Quote) -> None:
    assert fingerprint(other) != fingerprint(QUOTE)


def test_a_fingerprint_does_not_depend_on_the_seq() -> None:
    assert fingerprint(changed(seq=7)) == fingerprint(QUOTE)


async def test_the_database_computes_the_same_fingerprint(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    same = (
        f"SELECT {FINGERPRINT} FROM (SELECT $1::text AS ticker, $2::timestamptz AS minute, "  # noqa: S608 # ours
        "$3::numeric AS price, $4::timestamptz AS observed_at) AS one"
    )
    try:
        statement = await connection.prepare(same)
        for price, moment in product(PRICES, MOMENTS):
            start = moment.replace(second=0, microsecond=0)
            row = changed(price=Decimal(price), minute=start, observed_at=moment)
            arguments = row.ticker, row.minute, row.price, row.observed_at
            assert await statement.fetchval(*arguments) == fingerprint(row)
    finally:
        await connection.close()
