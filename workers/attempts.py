"""When a ticker is requested again: the results of its last requests, and the delays."""

import random
from dataclasses import dataclass
from datetime import timedelta

from quotes.market.sources import MAX_COMPENSATED, Cause, Retry, SourceError

CONFIRM_DELAY = 1.5  # seconds before an answer that would end a ticker's minute is confirmed
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0  # seconds between a ticker's attempts, doubling
CLOCK_MARGIN = 0.05  # seconds after the start of the exchange's minute: the clock's uncertainty
# How long requests for an index unknown to the exchange are suspended, doubling.
FIRST_SUSPENSION, LONGEST_SUSPENSION = timedelta(minutes=5), timedelta(hours=1)


@dataclass(slots=True)
class Health:
    """The results of a ticker's last requests."""

    unanswered: int = 0  # consecutive requests
    tried_at: float = 0.0  # by the loop's clock
    suspension: timedelta = timedelta()  # how long an unknown index is suspended
    suspended_until: float = 0.0  # by the loop's clock

    @property
    def unresponsive(self) -> bool:
        """Two requests in a row were not answered: the next ones come after all the others'."""
        return self.unanswered > 1

    @property
    def unresponsive_since(self) -> float:
        """The time of the last attempt; 0 if it is responsive."""
        return self.tried_at if self.unresponsive else 0.0

    def record(self, failed: Cause | None) -> None:
        if failed is Cause.TIMEOUT:
            self.unanswered += 1
        elif failed is not Cause.NOT_ASKED:
            self.unanswered = 0
            if failed is not Cause.UNKNOWN_INDEX:
                self.suspension = timedelta()

    def suspend(self) -> None:
        """Suspend requests, for longer each time."""
        self.suspension = min(LONGEST_SUSPENSION, 2 * self.suspension) or FIRST_SUSPENSION
        self.suspended_until = self.tried_at + self.suspension.total_seconds()


class EarlyError(SourceError):
    """The minute has not begun yet by the exchange's clock."""

    def __init__(self, message: str, early: timedelta) -> None:
        super().__init__(Cause.OUTSIDE_MINUTE, message, retry=Retry.NEVER)
        self.early = early


def is_early(error: SourceError) -> bool:
    """Whether a short wait is enough."""
    return isinstance(error, EarlyError) and error.early <= MAX_COMPENSATED


def delay_after(error: SourceError, attempt: int, *, unconfirmed: bool) -> float | None:
    """Seconds until the ticker's next attempt; None if another cannot help."""
    match error:
        case EarlyError(early=early) if is_early(error):
            return early.total_seconds() + CLOCK_MARGIN
        case SourceError(retry=Retry.NEVER):
            return CONFIRM_DELAY if unconfirmed else None
        case SourceError(retry=Retry.SLOWLY):
            return LONGEST_DELAY
        case _:
            # Jitter, so that tickers that failed together are not retried together.
            jitter = random.uniform(0.75, 1.25)  # noqa: S311  # no secret
            return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (attempt - 1)) * jitter
