"""What each index is made of, as its channel last said."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from quotes.market.constituents import (
    NEAR,
    Constituent,
    Spread,
    Spreads,
    newest,
    spread,
    wider,
)
from quotes.market.sources import SourceError
from workers.exchange.answers import MAX_DIGITS, MAX_EXPONENT, price_of
from workers.exchange.messages import FUTURE, Ranking, moment
from workers.exchange.prices import MINUTES

MAX_NAME = 32  # characters of an exchange's name
WHOLE = 100  # percent
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class _Received:
    """A ranking, and when it came."""

    ranking: Ranking
    at: float  # by the loop's clock
    exchange_at: datetime  # by the exchange's

    def constituents(self) -> Sequence[Constituent]:
        """In the order of the exchange; none where one of them cannot be understood."""
        until = self.exchange_at + FUTURE
        found = [_constituent(self.ranking.ticker, row, until) for row in self.ranking.rows]
        known = [each for each in found if each is not None]
        return known if len(known) == len(found) else ()


@dataclass(frozen=True, slots=True)
class Heard:
    """What an index is made of, once it came."""

    ticker: str
    at: float  # by the loop's clock
    constituents: Sequence[Constituent]  # none where one of them cannot be understood
    spreads: Spreads

    @property
    def lag(self) -> timedelta:
        """How old the newest of the prices in use was then; zero where none is in use."""
        came = self.spreads.at
        return max(came - (newest(self.constituents) or came), timedelta())


class Rankings:
    """The last of each index, and how far its exchanges were apart in the last minutes."""

    def __init__(self) -> None:
        self._received: dict[str, _Received] = {}
        self._widest: defaultdict[str, dict[datetime, Spread | None]] = defaultdict(dict)

    def add(self, ranking: Ranking, at: float, exchange_at: datetime) -> None:
        received = self._received[ranking.ticker] = _Received(ranking, at, exchange_at)
        widest, minute = self._widest[ranking.ticker], exchange_at.replace(second=0, microsecond=0)
        if minute not in widest and exchange_at - minute <= NEAR:
            widest[minute] = spread(received.constituents())
            while len(widest) > MINUTES:
                del widest[min(widest)]

    def keep(self, tickers: Collection[str]) -> None:
        """Forget all others."""
        for ticker in self._received.keys() - tickers:
            del self._received[ticker]
            self._widest.pop(ticker, None)

    def since(self, at: float) -> Iterator[Heard]:
        """Of each index the last, where that came after `at`."""
        for ticker, received in tuple(self._received.items()):
            if received.at > at:
                widest, constituents = self._widest[ticker], received.constituents()
                current = spread(constituents)
                widest |= {minute: wider(known, current) for minute, known in widest.items()}
                spreads = Spreads(received.exchange_at, current, {**widest})
                yield Heard(ticker, received.at, constituents, spreads)


def _constituent(ticker: str, row: object, until: datetime) -> Constituent | None:
    match row:
        case {"identifier": str(name), "enabled": bool(used), **more} if 0 < len(name) <= MAX_NAME:
            made = moment(more.get("timestamp") or None, MILLISECOND)  # 0 where there is none
            return Constituent(
                name,
                _price(ticker, more.get("price")),
                _price(ticker, more.get("original_price")),
                _weight(more.get("weight")),
                made if made is not None and made <= until else None,
                used,
            )
    return None


def _price(ticker: str, value: object) -> Decimal | None:
    with suppress(SourceError):
        return price_of(ticker, value)
    return None


def _weight(value: object) -> Decimal | None:
    weight = Decimal(value) if type(value) is int else value
    if not isinstance(weight, Decimal) or not weight.is_finite() or not 0 <= weight <= WHOLE:
        return None
    _, digits, exponent = weight.as_tuple()
    return weight if len(digits) <= MAX_DIGITS and abs(int(exponent)) <= MAX_EXPONENT else None
