"""The hourly rollup as it is in the database, and as plain Python computes it."""

import random

from plain import candles
from rows import quote
from sqlmodel import select

from quotes.database.models import Hour, Origin, Quote
from quotes.database.sessions import Sessions


async def stored_hours(sessions: Sessions) -> list[Hour]:
    async with sessions() as session:
        return list((await session.exec(select(Hour))).all())


def expected_hours(quotes: list[Quote]) -> list[tuple[object, ...]]:
    """The rows of `hours` that follow from these quotes."""
    found: list[tuple[object, ...]] = []
    for ticker in sorted({each.ticker for each in quotes}):
        own = [each for each in quotes if each.ticker == ticker]
        for hour, candle in candles(own, lambda at: at.replace(minute=0)).items():
            within = [each for each in own if each.minute.replace(minute=0) == hour]
            high = min(each.minute for each in within if each.price == candle.high)
            low = min(each.minute for each in within if each.price == candle.low)
            places = sum(1 << each.minute.minute for each in within)
            repaired = sum(1 << each.minute.minute for each in within if each.origin == "REPAIRED")
            found.append((ticker, hour, candle.open, candle.high, candle.low, candle.close,
                          high, low, candle.count, places, repaired))  # fmt: skip
    return found


def as_rows(hours: list[Hour]) -> list[tuple[object, ...]]:
    return sorted(
        (each.ticker, each.hour, each.open, each.high, each.low, each.close,
         each.high_at, each.low_at, each.count, each.minutes, each.repaired)
        for each in hours
    )  # fmt: skip


def random_quotes(seed: int) -> list[Quote]:
    """Two tickers' quotes of two days with gaps, of every origin, in random order."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    quotes = [
        quote(ticker, at, str(chance.randint(90_000, 90_050) / 4), origin=chance.choice([*Origin]))
        for ticker in ("btc_usd", "eth_usd")
        for at in range(-1_440, 1_440)
        if chance.random() < 0.7
    ]
    chance.shuffle(quotes)
    return quotes
