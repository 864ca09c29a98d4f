"""What each client may spend: points of cost, which are restored evenly over time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from quotes.api.errors import Code, RefusedError
from quotes.live.turns import client

FULL = 60.0  # seconds in which a whole budget is restored
MAX_CLIENTS = 100_000  # remembered, in some 20 MB; of more, the oldest have whole budgets


class Budgets:
    """Each client's, who is the holder of a token, else an address. None has one with 0 points."""

    def __init__(
        self,
        points: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        most_clients: int = MAX_CLIENTS,
    ) -> None:
        self.points = points
        self._clock = clock
        self._most_clients = most_clients
        self._whole_at: dict[str, float] = {}  # when a client's budget is whole again
        self._purge_at = most_clients // 2

    def __len__(self) -> int:
        return len(self._whole_at)

    def payment(self) -> "Payment":
        """Of the current task's client."""
        return Payment(self, (client.get() or ("", None))[0])

    def spend(self, who: str, points: int) -> None:
        """Raises RefusedError (THROTTLED) where that is more than the client has."""
        now = self._clock()
        whole_at = max(self._whole_at.get(who, now), now) + self._seconds(points)
        if whole_at - now > FULL:
            seconds = round(whole_at - now - FULL, 1) or 0.1
            raise RefusedError(
                Code.THROTTLED,
                f"This client may spend {self.points:,} points a minute, and has too few left for "
                f"these {points:,}. Try again in {seconds} seconds, or ask for less.",
                retryAfter=seconds,
            )
        self._whole_at[who] = whole_at
        if len(self._whole_at) > self._purge_at:
            self._purge(now)

    def give_back(self, who: str, points: int) -> None:
        if who in self._whole_at:
            self._whole_at[who] -= self._seconds(points)

    def _seconds(self, points: int) -> float:
        return FULL * points / self.points

    def _purge(self, now: float) -> None:
        """Forget who has a whole budget, and beyond the limit those who came first."""
        spent = {who: at for who, at in self._whole_at.items() if at > now}
        for who in list(spent)[: max(len(spent) - self._most_clients, 0)]:
            del spent[who]
        self._whole_at = spent
        self._purge_at = min(max(2 * len(spent), self._most_clients // 2), self._most_clients)


@dataclass(slots=True)
class Payment:
    """What one operation costs its client: at first the most that it could, then what it did."""

    budgets: Budgets
    who: str
    paid: int = 0

    def pay(self, points: int) -> None:
        """Raises RefusedError (THROTTLED) where the client has less."""
        if self.budgets.points:
            self.budgets.spend(self.who, points)
            self.paid = points

    def settle(self, actual: int) -> None:
        if self.paid:
            self.budgets.give_back(self.who, self.paid - actual)
