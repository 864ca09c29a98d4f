"""Logging a lasting state without a line for each time it is met."""

import time
from collections.abc import Callable, Iterable

import structlog

REMINDER = 60.0  # seconds until a lasting state is logged again
SETTLED = 10.0  # seconds until a changed one is


class Condition:
    """A state, logged when it begins or changes, at intervals while it lasts, and at its end.

    A loop may report it as often as it likes. `every` is in seconds, of the clock `now`.
    """

    def __init__(
        self,
        log: structlog.stdlib.BoundLogger,
        event: str,
        *,
        every: float = REMINDER,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._event = event
        self._every = every
        self._now = now
        self._since: float | None = None
        self._logged_at = float("-inf")
        self._key: object = None

    def persists(self, *, key: object = None, **fields: object) -> None:
        """Report the state. A new `key` makes it another state of the same kind."""
        now = self._now()
        if self._since is None:
            self._since = now
            pause = 0.0
        else:  # an alternating state is not logged at each change
            pause = SETTLED if key != self._key else self._every
        if now - self._logged_at >= pause:
            self._logged_at, self._key = now, key
            self._log.warning(self._event, **fields, seconds_so_far=round(now - self._since))

    @property
    def holds(self) -> bool:
        return self._since is not None

    def ended(self) -> None:
        """Report that the state does not hold, or no longer."""
        if self._since is not None:
            self._log.info(f"{self._event}_ended", seconds=round(self._now() - self._since))
            self._since = None


class Affected:
    """What is in a lasting state, as some tickers: logs what enters it and what leaves it, once."""

    def __init__(
        self, log: structlog.stdlib.BoundLogger, event: str, kind: str, **fields: object
    ) -> None:
        self._log = log
        self._event = event
        self._kind = kind  # the field that names them
        self._fields = fields
        self.names: set[str] = set()

    def begin(self, names: Iterable[str]) -> None:
        """Report that these are in the state."""
        if new := sorted(set(names) - self.names):
            self.names.update(new)
            self._log.warning(self._event, **{self._kind: new}, **self._fields)

    def end(self, names: Iterable[str]) -> None:
        """Report that these are not, or no longer."""
        if left := sorted(self.names.intersection(names)):
            self.names.difference_update(left)
            self._log.info(f"{self._event}_ended", **{self._kind: left}, **self._fields)
