"""What each index of the stand-in is just now: its price, its time, and what it is made of."""

from collections.abc import Callable, Collection
from datetime import datetime
from decimal import Decimal

from workers.demo import market, rankings
from workers.demo.faults import PRICES, Fault, compact

PRICE_CHANNEL, RANKING_CHANNEL = "deribit_price_index", "deribit_price_ranking"


class Indexes:
    """Change `prices`, `excluded` and `faults` at any time, each by index name.

    A price is pinned by its JSON text, known index or not, and so is a ranking. `excluded` are the
    exchanges that an index is made without; `refused` are kinds of channels that are subscribed to
    once too often. Another `clock` replays any moment.
    """

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        self.seed = seed
        self.clock = clock
        self.prices: dict[str, str] = {}
        self.rankings: dict[str, str] = {}
        self.excluded: dict[str, Collection[str]] = {}
        self.faults: dict[str, Fault] = {}
        self.refused: set[str] = set()  # kinds of channels
        self._frozen: dict[str, datetime] = {}  # since when each price stays what it is

    def known(self) -> dict[str, None]:
        """The indexes that have a price here, in their order."""
        return dict.fromkeys((*market.INDEXES, *self.prices))

    def listed(self) -> list[str]:
        """As on its lists: a fault may hide some."""
        return [name for name in self.known() if self.faults.get(name) is not Fault.UNKNOWN_INDEX]

    def publishes(self, channel: str) -> bool:
        kind, _, index = channel.partition(".")
        refused = {Fault.UNLISTED, Fault.UNKNOWN_INDEX}
        if kind == RANKING_CHANNEL:
            refused.add(Fault.UNRANKED)
        elif kind != PRICE_CHANNEL:
            return False
        return index in self.known() and self.faults.get(index) not in refused

    def refuses(self, channel: str) -> bool:
        return channel.partition(".")[0] in self.refused

    def data(self, channel: str) -> str | None:
        """The text of the channel's next message; None if it is silent just now."""
        kind, _, index = channel.partition(".")
        if kind == RANKING_CHANNEL:
            silent = self.faults.get(index) in {Fault.RANKING_SILENT, Fault.SILENT}
            return None if silent else self._ranking_text(index)
        if kind != PRICE_CHANNEL or self.faults.get(index) is Fault.SILENT:
            return None
        return (
            f'{{"timestamp":{self._milliseconds(index)},"price":{self.price_text(index)},'
            f'"index_name":{compact(index)}}}'
        )

    def price_text(self, index: str) -> str:
        """Raises KeyError for an index that is not here."""
        fault = self.faults.get(index)
        if fault in PRICES:
            return PRICES[fault]
        if fault is Fault.OUTLIER:
            return market.text(rankings.mean(self._shares(index)))
        if index in self.prices:
            return self.prices[index]
        return market.text(self._price(index))

    def _ranking_text(self, index: str) -> str:
        if index in self.rankings:
            return self.rankings[index]
        rows = [self._row(index, share) for share in self._shares(index)]
        if (fault := self.faults.get(index)) is Fault.ALONE:
            return rows[0]
        return "[" + ",".join("[]" if fault is Fault.NAMELESS else row for row in rows) + "]"

    def _row(self, index: str, share: rankings.Share) -> str:
        price = "null" if share.price is None else market.text(share.price)
        made = 0 if share.price is None else self._milliseconds(index)
        return (
            f'{{"identifier":{compact(share.exchange)},"price":{price},"original_price":{price},'
            f'"weight":{market.text(share.weight)},"timestamp":{made},'
            f'"enabled":{compact(share.enabled)}}}'
        )

    def _shares(self, index: str) -> list[rankings.Share]:
        outlier = self.faults.get(index) is Fault.OUTLIER
        return rankings.shares(self._price(index), self.excluded.get(index, ()), outlier=outlier)

    def _price(self, index: str) -> Decimal:
        """What the exchanges agree on, whatever the index says."""
        if index in self.prices:
            return Decimal(self.prices[index])
        return market.price(index, self._moment(index), self.seed)

    def _milliseconds(self, index: str) -> int:
        return market.micros(self._moment(index)) // 1_000

    def _moment(self, index: str) -> datetime:
        """Of the index's price: now, or when it froze."""
        if self.faults.get(index) is Fault.FROZEN:
            return self._frozen.setdefault(index, self.clock())
        self._frozen.pop(index, None)
        return self.clock()
