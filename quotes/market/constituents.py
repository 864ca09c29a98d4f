"""The exchanges that an index is made of, and how far their prices are apart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from statistics import median

MOST = 50  # exchanges of an index; the longest list recorded has about 12
LEAST = 2  # prices, of which one can contradict the other
DIGITS = 100  # more than any sum or difference of prices has, so that these are exact
# What came, or was made, longer ago is not known any more.
KNOWN_FOR = timedelta(seconds=60)
# What an index was made of as a minute began came no longer before or after.
NEAR = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Constituent:
    """One exchange's part in an index."""

    exchange: str
    price: Decimal | None  # that was taken; None where there is none
    original_price: Decimal | None  # that the exchange had
    weight: Decimal | None  # in percent
    observed_at: datetime | None  # the price's own time, by the index's clock
    used: bool


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the prices in use are apart."""

    absolute: Decimal  # the highest less the lowest
    median: Decimal
    exchanges: int

    @property
    def percent(self) -> Decimal:
        """Of the median, to 100 digits."""
        with localcontext(prec=DIGITS):
            return 100 * self.absolute / self.median


@dataclass(frozen=True, slots=True)
class Spreads:
    """How far the exchanges of an index are apart, and were in the last minutes."""

    at: datetime  # by the index's clock
    current: Spread | None  # None where it is not known
    # By the beginning of each minute, the widest since; None where it was not known then.
    widest: Mapping[datetime, Spread | None]

    def since(self, minute: datetime) -> Spread | None:
        """The widest from the minute's beginning until `at`; None where it is not known."""
        if minute not in self.widest and timedelta() < minute - self.at <= NEAR:
            return self.current
        return self.current and wider(self.widest.get(minute), self.current)


def spread(constituents: Sequence[Constituent]) -> Spread | None:
    """None where fewer than LEAST prices are in use, or one of these is not known."""
    prices = [each.price for each in constituents if each.used]
    known = [price for price in prices if price is not None]
    if len(known) < max(LEAST, len(prices)):
        return None
    with localcontext(prec=DIGITS):
        return Spread(max(known) - min(known), median(known), len(known))


def wider(known: Spread | None, current: Spread | None) -> Spread | None:
    """What is not known now is no wider; what was not known before cannot be made up for."""
    if known is None or current is None:
        return known
    return max(known, current, key=lambda each: each.percent)


def newest(constituents: Iterable[Constituent]) -> datetime | None:
    """The time of the newest price in use."""
    times = (each.observed_at for each in constituents if each.used)
    return max((time for time in times if time is not None), default=None)
