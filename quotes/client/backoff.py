"""How long to wait before another attempt."""

import random

FIRST, LONGEST = 0.25, 15.0  # seconds
MOST_ASKED_FOR = 60.0  # seconds that a service may ask to wait; a spent budget is whole after them


class Backoff:
    """Twice as long after each failure, up to LONGEST; random, so that clients do not come at once.

    What a service asks for is waited for in any case.
    """

    def __init__(self) -> None:
        self._failures = 0

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, retry_after: float | None = None) -> float:
        """The seconds to wait."""
        longest = min(FIRST * 2**self._failures, LONGEST)
        self._failures = min(self._failures + 1, 10)
        return (retry_after or 0.0) + random.uniform(0, longest)  # noqa: S311  # no secret
