"""When a ticker is requested again: what its last answers were like, and the delays between."""

import random
from dataclasses import dataclass
from datetime import timedelta

from quotes.market.sources import Cause, Retry, SourceError
from workers.exchange.clock import RIDDEN_OUT

CONFIRM = 1.5  # seconds until an answer that would end a ticker's minute is asked for again
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0  # seconds between a ticker's attempts, doubling
SLIP = 0.05  # seconds after the exchange's minute has begun, as clocks are only known so well
# How long an index that the exchange does not know is left alone, doubling.
FIRST_REST, LONGEST_REST = timedelta(minutes=5), timedelta(hours=1)


@dataclass(slots=True)
class Health:
    """What a ticker's last answers were like."""

    unanswered: int = 0  # requests in a row
    tried_at: float = 0.0  # by the loop's clock
    rest: timedelta = timedelta()  # how long an unknown index is left alone
    rests_until: float = 0.0  # by the loop's clock

    @property
    def hangs(self) -> bool:
        """Not answered twice in a row: its requests come after all the others'."""
        return self.unanswered > 1

    def note(self, failed: Cause | None) -> None:
        if failed is Cause.TIMEOUT:
            self.unanswered += 1
        elif failed is not Cause.NOT_ASKED:
            self.unanswered = 0
            if failed is not Cause.UNKNOWN_INDEX:
                self.rest = timedelta()

    def leave_alone(self) -> None:
        """Not to be requested for a while, longer each time."""
        self.rest = min(LONGEST_REST, 2 * self.rest) or FIRST_REST
        self.rests_until = self.tried_at + self.rest.total_seconds()


class EarlyError(SourceError):
    """By the exchange's clock the minute has not begun yet."""

    def __init__(self, message: str, early: timedelta) -> None:
        super().__init__(Cause.OUTSIDE_MINUTE, message, retry=Retry.NEVER)
        self.early = early


def is_early(error: SourceError) -> bool:
    """Whether it only takes a little waiting."""
    return isinstance(error, EarlyError) and error.early <= RIDDEN_OUT


def delay_after(error: SourceError, attempt: int, *, doubted: bool) -> float | None:
    """Seconds until the ticker's next attempt; None where another cannot help."""
    match error:
        case EarlyError(early=early) if is_early(error):
            return early.total_seconds() + SLIP
        case SourceError(retry=Retry.NEVER):
            return CONFIRM if doubted else None
        case SourceError(retry=Retry.SLOWLY):
            return LONGEST_DELAY
        case _:
            # Jitter, so that tickers that failed together do not come back together.
            jitter = random.uniform(0.75, 1.25)  # noqa: S311  # no secret
            return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (attempt - 1)) * jitter
