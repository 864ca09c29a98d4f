"""What an index is made of, for tests."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from quotes.database import constituents
from quotes.database.constituents import Report
from quotes.database.sessions import Sessions
from quotes.market.constituents import Constituent, Spread, Spreads, spread


def constituent(
    exchange: str, price: str | None, at: datetime | None = None, *, used: bool = True
) -> Constituent:
    exact = None if price is None else Decimal(price)
    return Constituent(exchange, exact, exact, Decimal("33.333333") if used else None, at, used)


def exchanges(*prices: str | None, at: datetime | None = None) -> Sequence[Constituent]:
    return [constituent(f"e{place}", price, at) for place, price in enumerate(prices)]


def apart(*prices: str | None) -> Spread | None:
    return spread(exchanges(*prices))


def spreads(
    at: datetime, current: Spread | None, since: Mapping[datetime, Spread | None] | None = None
) -> Spreads:
    """By default it has been as it is since that minute began."""
    minute = at.replace(second=0, microsecond=0)
    return Spreads(at, current, {minute: current} if since is None else since)


async def publish(
    sessions: Sessions, at: datetime, *prices: str | None, ago: float = 0.0, age: float = 0.0
) -> Report:
    """Of btc_usd; in seconds, `ago` is since it came and `age` since its prices were made."""
    made_of = exchanges(*prices, at=at)
    report = Report(
        "btc_usd",
        made_of,
        spreads(at, spread(made_of)),
        timedelta(seconds=ago),
        timedelta(seconds=age),
    )
    async with sessions.begin() as session:
        await constituents.publish(session, [report])
    return report
