"""How many exports run at once: in all, and for one client."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from quotes.api.errors import Code, RefusedError

RETRY_AFTER = 5  # seconds: a month is sent in less


class ExportLimits:
    """One client has at most half of them, so that it never keeps out all others."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_a_client = max(most // 2, 1)
        self._of_client: Counter[str] = Counter()
        self.running = self.begun_total = self.refused_total = 0

    @contextmanager
    def begun(self, who: str) -> Iterator[None]:
        """One export. Raises RefusedError (OVERLOADED) beyond a limit."""
        if self.running >= self._most:
            self._refuse(f"This server sends as many exports as it may, {self._most} at once.")
        if self._of_client[who] >= self._most_of_a_client:
            self._refuse(f"This client has as many exports as it may, {self._most_of_a_client}.")
        self.begun_total += 1
        self.running += 1
        self._of_client[who] += 1
        try:
            yield
        finally:
            self.running -= 1
            self._of_client[who] -= 1
            if not self._of_client[who]:
                del self._of_client[who]

    def _refuse(self, why: str) -> None:
        self.refused_total += 1
        sentence = f"{why} Try again in {RETRY_AFTER} seconds."
        raise RefusedError(Code.OVERLOADED, sentence, retryAfter=RETRY_AFTER)
