"""The channels of the exchange's WebSocket: which are open, and which are to be subscribed to."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import inf

import structlog

from workers.conditions import Affected
from workers.exchange.messages import PRICE, RANKING

log = structlog.get_logger(__name__)

AT_ONCE = 300  # in one request: it costs the exchange more than others, and is at most 32 kB long
# A channel that falls silent for so many seconds is subscribed to again; and, after a longer while,
# one that stays silent or was not accepted, or a ranking that never came: some indexes rest at
# night, and not every one has a ranking.
SILENCE, REFUSED_PAUSE = 30.0, 300.0


@dataclass(slots=True)
class _Channel:
    """What holds for one connection only. Times are the loop's."""

    name: str
    answered: bool = False  # whether a subscription to it had a reply
    accepted: bool = False
    subscribed_at: float = -inf
    heard_at: float = -inf
    unheard: int = 0  # subscriptions since it was heard

    @property
    def is_heard(self) -> bool:
        return self.heard_at > -inf and self.unheard == 0

    @property
    def is_ranking(self) -> bool:
        return self.name.startswith(RANKING)

    def is_due(self, now: float) -> bool:
        """Whether to subscribe to it: for the first time, or again."""
        never_heard = not self.accepted or (self.is_ranking and self.heard_at == -inf)
        patience = REFUSED_PAUSE if never_heard or self.unheard > 1 else SILENCE
        return now - max(self.subscribed_at, self.heard_at) > patience


class Channels:
    """Of each ticker its prices, and the ranking of the exchanges that these are made of.

    Prices come first. Rankings have requests of their own, and the connection, which the prices
    need, is lost for a refusal of rankings no more than once in REFUSED_PAUSE.
    """

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        self._rankings_from = -inf  # when they may be subscribed to, by the loop's clock
        self._left: list[str] = []  # to be unsubscribed from
        self._silent = Affected(log, "exchange_channels_silent", "channels")
        self._refused = Affected(log, "exchange_channels_refused", "channels")
        self.any_heard = False  # on this connection
        self.wanted = asyncio.Event()

    def want(self, ticker: str) -> None:
        if PRICE + ticker not in self._channels:
            self._channels |= {name: _Channel(name) for name in (PRICE + ticker, RANKING + ticker)}
            self.wanted.set()

    def keep(self, tickers: Collection[str]) -> None:
        """Want no others any more."""
        wanted = {kind + ticker for ticker in tickers for kind in (PRICE, RANKING)}
        for name in self._channels.keys() - wanted:
            if self._channels.pop(name).accepted:
                self._left.append(name)
            for state in (self._silent, self._refused):
                state.names.discard(name)
        self.wanted.set()

    def left(self) -> Sequence[str]:
        """Those that were open, are wanted no more, and are to be closed now."""
        left, self._left = [each for each in self._left if each not in self._channels], []
        return left

    def reset(self, unanswered: Iterable[Sequence[str]]) -> None:
        """The connection was lost, while these subscriptions had no reply yet."""
        if any(map(_of_rankings, unanswered)):
            self._rankings_from = _time() + REFUSED_PAUSE
        self._channels = {name: _Channel(name) for name in self._channels}
        self._left.clear()
        self.any_heard = False

    def due(self) -> Sequence[str]:
        """What to subscribe to next, in one request."""
        now = _time()
        self._silent.end([name for name in self._silent.names if self._channels[name].is_heard])
        due = [channel for channel in self._channels.values() if channel.is_due(now)]
        prices = [channel.name for channel in due if not channel.is_ranking]
        rankings = [channel.name for channel in due if channel.is_ranking]
        return (prices or (rankings if now >= self._rankings_from else []))[:AT_ONCE]

    def silent(self, names: Iterable[str]) -> Sequence[str]:
        """Those that are open, and must be closed before they are subscribed to again."""
        silent = [self._channels[name] for name in names if self.carries(name)]
        if fallen := [each.name for each in silent if not each.is_ranking or each.heard_at > -inf]:
            self._silent.begin(fallen)
        return [each.name for each in silent]

    def subscribing(self, names: Iterable[str]) -> None:
        """A request is about to be sent."""
        for name in names:
            if name in self._channels:
                self._channels[name].subscribed_at = _time()
                self._channels[name].unheard += 1

    def subscribed(self, names: Sequence[str], result: object) -> None:
        """The reply: which of them are open."""
        accepted = set(map(str, result)) if isinstance(result, list) else set()
        wanted = self._channels.keys() & set(names)  # some may be wanted no more
        for name in wanted:
            self._channels[name].answered = True
            self._channels[name].accepted |= name in accepted
        self._refused.begin(wanted - accepted)
        self._refused.end(accepted)

    def tolerates(self, names: Sequence[str], code: int) -> bool:
        """Whether the connection may go on after this reply: prices do without rankings."""
        if not _of_rankings(names):
            return False
        self._rankings_from = _time() + REFUSED_PAUSE
        log.warning("exchange_rankings_refused", code=code, again_in=REFUSED_PAUSE)
        return True

    def hear(self, name: str) -> bool:
        """Count a message as a sign of life. False where the channel is not open."""
        if not self.carries(name):
            return False
        channel, self.any_heard = self._channels[name], True
        channel.heard_at, channel.unheard = _time(), 0
        return True

    def carries(self, name: str) -> bool:
        """Whether the channel is open."""
        return name in self._channels and self._channels[name].accepted

    def awaits(self, name: str) -> bool:
        """Whether it is wanted, and may be open as soon as the exchange has replied."""
        return name in self._channels and not self._channels[name].answered

    @property
    def any_open(self) -> bool:
        return any(channel.accepted for channel in self._channels.values())


def _of_rankings(names: Sequence[str]) -> bool:
    return bool(names) and all(name.startswith(RANKING) for name in names)


def _time() -> float:
    return asyncio.get_running_loop().time()
