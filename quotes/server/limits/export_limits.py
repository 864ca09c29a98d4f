"""How many exports run at once: in all, and for one client."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from quotes.api.errors import Code, RefusedError

log = structlog.get_logger()

RETRY_AFTER = 5  # seconds: a month is sent in less
TURN = 60.0  # seconds that each has at least; a year is sent in less to whoever reads it


@dataclass(frozen=True, slots=True, eq=False)
class _Export:
    client: str
    cut: Callable[[], None]
    began: float  # by the monotonic clock


class ExportLimits:
    """One client has at most half of them, and none for longer than a TURN if another wants it.

    So neither one client nor several that hardly read keep out all others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_a_client = max(most // 2, 1)
        self._exports: list[_Export] = []  # in the order in which they began
        self.begun_total = self.refused_total = 0

    @property
    def running(self) -> int:
        return len(self._exports)

    @contextmanager
    def begun(self, client: str, cut: Callable[[], None]) -> Iterator[None]:
        """One export. Raises RefusedError (OVERLOADED) beyond a limit.

        `cut` ends it early; it is called where another takes its place.
        """
        if [each.client for each in self._exports].count(client) >= self._most_of_a_client:
            self._refuse(f"This client has as many exports as it may, {self._most_of_a_client}.")
        if self.running >= self._most and not self._cut_longest():
            self._refuse(f"This server sends as many exports as it may, {self._most} at once.")
        export = _Export(client, cut, time.monotonic())
        self.begun_total += 1
        self._exports.append(export)
        try:
            yield
        finally:
            if export in self._exports:
                self._exports.remove(export)

    def _cut_longest(self) -> bool:
        """Whether one has had its turn, and so has been cut off."""
        longest = self._exports[0]
        seconds = time.monotonic() - longest.began
        if seconds < TURN:
            return False
        log.info("export_cut_off_for_another", seconds=round(seconds))
        del self._exports[0]
        longest.cut()
        return True

    def _refuse(self, why: str) -> None:
        self.refused_total += 1
        sentence = f"{why} Try again in {RETRY_AFTER} seconds."
        raise RefusedError(Code.OVERLOADED, sentence, retryAfter=RETRY_AFTER)
