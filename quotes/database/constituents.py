"""What each index is made of: published by the workers, who receive it, for the web processes.

Ages are by the database's clock alone, whatever those of the hosts show.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import orjson
from sqlalchemy import ARRAY, Interval, Text, bindparam, text
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.connections import CONNECT_TIMEOUT, Pool
from quotes.database.errors import translated
from quotes.market.constituents import KNOWN_FOR, Constituent, Spread, Spreads

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker has received of an index."""

    ticker: str
    constituents: Sequence[Constituent]  # none where what came cannot be understood
    spreads: Spreads
    ago: timedelta  # since it came
    age: timedelta  # since the newest of the prices in use was made


@dataclass(frozen=True, slots=True)
class Known:
    """How far the exchanges of an index are apart, and these themselves, where they were read."""

    spreads: Spreads
    age: timedelta  # since the newest of the prices in use was made
    constituents: Sequence[Constituent] = ()


# What came last is kept, whichever worker publishes it; a time ahead of the database's clock, which
# may have been set back, is no reason to keep it. In order, so that two workers never wait in a
# circle.
_PUBLISH = text(
    """
    INSERT INTO constituents AS known (ticker, received_at, made_at, exchanges, spreads)
    SELECT ticker, now - ago, now - age, exchanges::json, spreads::json
    FROM unnest(:tickers, :agos, :ages, :exchanges, :spreads)
         AS reported (ticker, ago, age, exchanges, spreads),
         (SELECT clock_timestamp() AS now) AS clock
    ORDER BY ticker
    ON CONFLICT (ticker) DO UPDATE
    SET received_at = excluded.received_at,
        made_at = excluded.made_at,
        exchanges = excluded.exchanges,
        spreads = excluded.spreads
    WHERE excluded.received_at > known.received_at OR known.received_at > clock_timestamp()
    """
).bindparams(
    bindparam("tickers", type_=ARRAY(Text)),
    bindparam("agos", type_=ARRAY(Interval)),
    bindparam("ages", type_=ARRAY(Interval)),
    bindparam("exchanges", type_=ARRAY(Text)),
    bindparam("spreads", type_=ARRAY(Text)),
)
_KNOWN = """
    FROM constituents
    WHERE ticker = ANY ($1::text[])
      AND received_at > clock_timestamp() - $2::interval AND received_at <= clock_timestamp()
"""
_SPREADS = f"SELECT ticker, clock_timestamp() - made_at AS age, spreads {_KNOWN}"
_ALL = f"SELECT ticker, clock_timestamp() - made_at AS age, spreads, exchanges {_KNOWN}"


async def publish(session: AsyncSession, reports: Sequence[Report]) -> None:
    """Each ticker once."""
    await (await session.connection()).execute(
        _PUBLISH,
        {
            "tickers": [each.ticker for each in reports],
            "agos": [each.ago for each in reports],
            "ages": [each.age for each in reports],
            "exchanges": [exchanges_json(each.constituents) for each in reports],
            "spreads": [spreads_json(each.spreads) for each in reports],
        },
    )


async def spreads(pool: Pool, tickers: Collection[str]) -> Mapping[str, Known]:
    """Of those tickers of which something came within KNOWN_FOR. Raises DatabaseError."""
    rows = await _rows(pool, _SPREADS, tickers)
    return {row["ticker"]: Known(spreads_of(row["spreads"]), row["age"]) for row in rows}


async def of(pool: Pool, ticker: str) -> Known | None:
    """With the exchanges; None where nothing came within KNOWN_FOR, or nothing understood."""
    for row in await _rows(pool, _ALL, [ticker]):
        if exchanges := exchanges_of(row["exchanges"]):
            return Known(spreads_of(row["spreads"]), row["age"], exchanges)
    return None


async def _rows(pool: Pool, query: str, tickers: Collection[str]) -> list[asyncpg.Record]:
    with translated():
        async with pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
            rows: list[asyncpg.Record] = await connection.fetch(query, list(tickers), KNOWN_FOR)
    return rows


def exchanges_json(constituents: Iterable[Constituent]) -> str:
    """Times in milliseconds, and each number as text of its own digits."""
    return orjson.dumps(
        [
            (
                each.exchange,
                _text(each.price),
                _text(each.original_price),
                _text(each.weight),
                each.observed_at and _milliseconds(each.observed_at),
                each.used,
            )
            for each in constituents
        ]
    ).decode()


def exchanges_of(text: str) -> Sequence[Constituent]:
    return [
        Constituent(
            exchange,
            _number(price),
            _number(original_price),
            _number(weight),
            None if observed_at is None else _moment(observed_at),
            used,
        )
        for exchange, price, original_price, weight, observed_at, used in orjson.loads(text)
    ]


def spreads_json(spreads: Spreads) -> str:
    """As `exchanges_json`."""
    widest = [(_milliseconds(minute), _parts(each)) for minute, each in spreads.widest.items()]
    return orjson.dumps((_milliseconds(spreads.at), _parts(spreads.current), widest)).decode()


def spreads_of(text: str) -> Spreads:
    at, current, widest = orjson.loads(text)
    return Spreads(
        _moment(at), _spread(current), {_moment(minute): _spread(each) for minute, each in widest}
    )


def _parts(spread: Spread | None) -> tuple[str, str, int] | None:
    return None if spread is None else (str(spread.absolute), str(spread.median), spread.exchanges)


def _spread(parts: tuple[str, str, int] | None) -> Spread | None:
    return None if parts is None else Spread(Decimal(parts[0]), Decimal(parts[1]), parts[2])


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + milliseconds * _MILLISECOND


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
