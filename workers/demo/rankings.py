"""The stand-in's exchanges: what each index is made of, at prices around the index's own."""

from collections.abc import Collection
from decimal import Decimal
from typing import NamedTuple

# In the order of the ranking, with how many ten-thousandths, or fewer, each is off.
OFFSETS = {
    "binance": 3,
    "bitfinex": -7,
    "bitstamp": -2,
    "coinbase": 8,
    "gemini": 5,
    "kraken": -4,
    "okx": 1,
    "bybit": -4,
}
MUTE = "lmax"  # gives nothing at all
OUTLIER = next(iter(OFFSETS))
TIMES = 10  # its price in place of the others'
PLACES = Decimal("0.000001")  # of a weight, as it is seen


class Share(NamedTuple):
    """One exchange's part in an index, at one moment."""

    exchange: str
    price: Decimal | None
    weight: Decimal
    enabled: bool


def shares(price: Decimal, excluded: Collection[str], *, outlier: bool) -> list[Share]:
    """Those that are used have `price` as their mean, but for an outlier."""
    used = [name for name in OFFSETS if name not in excluded]
    step = Decimal(1).scaleb(price.adjusted() - 4)
    prices = {name: price + offset * step for name, offset in OFFSETS.items()}
    if used:
        prices[used[-1]] -= sum((prices[name] for name in used), Decimal()) - price * len(used)
    if outlier:
        prices[OUTLIER] *= TIMES
    weight = (Decimal(100) / max(len(used), 1)).quantize(PLACES)
    return [
        *(
            Share(name, prices[name], weight if name in used else Decimal(), name in used)
            for name in OFFSETS
        ),
        Share(MUTE, None, Decimal(), enabled=False),
    ]


def mean(shares: Collection[Share]) -> Decimal:
    """The index's price."""
    used = [share.price for share in shares if share.enabled and share.price is not None]
    return sum(used, Decimal()) / len(used)
