"""Quotes of any ticker, minute and price."""

from datetime import datetime
from decimal import Decimal

from quotes.database.models import Origin, Quote


def priced(ticker: str, minute: datetime, price: str, origin: Origin = Origin.LIVE) -> Quote:
    return Quote(
        ticker=ticker,
        minute=minute,
        price=Decimal(price),
        observed_at=minute,
        source="demo",
        origin=origin,
    )
