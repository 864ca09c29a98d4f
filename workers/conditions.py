"""States of ours that last, and what the log says of them."""

import time
from collections.abc import Callable

import structlog

REMINDER = 60.0  # seconds after which a state that lasts is logged again
SETTLED = 10.0  # seconds after which one that has changed is


class Condition:
    """Logged when it begins or changes, now and then while it lasts, and when it ends.

    Whoever meets it in a loop need not care how often. `every` is in seconds, of the clock `now`.
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
        """It is so. Another `key` than before makes it another state of the same kind."""
        now = self._now()
        if self._since is None:
            self._since = now
            pause = 0.0
        else:  # one that changes to and fro is not logged each time
            pause = SETTLED if key != self._key else self._every
        if now - self._logged_at >= pause:
            self._logged_at, self._key = now, key
            self._log.warning(self._event, **fields, seconds_so_far=round(now - self._since))

    def ended(self) -> None:
        """It is not so, or no longer."""
        if self._since is not None:
            self._log.info(f"{self._event}_ended", seconds=round(self._now() - self._since))
            self._since = None
