"""What an export costs its client, in the points of `quotes.api.cost`."""

import asyncio

from quotes.api.cost import MINUTE, points
from quotes.api.errors import RefusedError
from quotes.api.selected_values import STATEMENT
from quotes.export.periods import Period
from quotes.server.limits.budgets import Budgets

# Microseconds of a row, of the database and of this process or a writer of Parquet, which costs the
# most; rounded up from what `bench/export.py` measures.
COUNTED = 0.3
WRITTEN = 6.0


class Payment:
    """By the current task's client."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets

    def begin(self, period: Period) -> None:
        """For the counting of the period's rows. Raises RefusedError (THROTTLED)."""
        rows = (period.until - period.since) / MINUTE
        self._budgets.payment().pay(points(STATEMENT + COUNTED * rows))

    async def pay(self, rows: int) -> None:
        """For a day that was read; whoever has spent a whole budget waits until it is restored."""
        while True:
            try:
                self._budgets.payment().pay(points(STATEMENT + WRITTEN * rows))
            except RefusedError as refusal:
                await asyncio.sleep(float(str(refusal.more["retryAfter"])))
            else:
                return
