"""The exchange's clock, which decides to which minute a price belongs, relative to this host's."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from quotes import metrics
from quotes.market.sources import LOG_THRESHOLD, MAX_COMPENSATED
from workers.conditions import Condition

log = structlog.get_logger(__name__)

SAMPLES = 9  # their median counts, so one outlier does not move the clock


class ExchangeClock:
    """How far the exchange's clock is ahead of this host's, from the answers so far."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.host = now
        self._samples: deque[timedelta] = deque(maxlen=SAMPLES)
        self._logged = timedelta()
        self._difference = Condition(
            log,
            "clock_difference",
            every=3_600,
            now=lambda: asyncio.get_running_loop().time(),
        )

    def observe(self, ahead: timedelta) -> None:
        """Record how far the exchange's clock was ahead in one answer; negative if behind."""
        self._samples.append(ahead)
        metrics.CLOCK_AHEAD.set(self.ahead.total_seconds())
        if abs(self.ahead) < LOG_THRESHOLD:
            self._difference.ended()
            return
        if abs(self.ahead - self._logged) >= LOG_THRESHOLD:
            self._logged = self.ahead
        seconds = self.ahead.total_seconds()
        self._difference.persists(
            key=self._logged,
            host_clock="behind" if seconds > 0 else "ahead",
            seconds=round(abs(seconds), 1),
            compensated=self.known,
            advice="set this host's clock, as by NTP",
        )

    @property
    def ahead(self) -> timedelta:
        """Zero before the first answer."""
        if not self._samples:
            return timedelta()
        ordered = sorted(self._samples)
        low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
        return min(low, high, key=abs)

    @property
    def known(self) -> bool:
        """Whether `until` is reliable."""
        return bool(self._samples) and abs(self.ahead) <= MAX_COMPENSATED

    def until(self, moment: datetime) -> float:
        """Seconds until the exchange's clock shows the moment; negative if it is past."""
        return (moment - self.host() - self.ahead).total_seconds()

    def describe(self) -> str:
        """The difference, as a sentence."""
        seconds = self.ahead.total_seconds()
        if abs(self.ahead) < LOG_THRESHOLD:
            return "The clocks of this host and of the exchange agree."
        return (
            f"This host's clock is {abs(seconds):.0f} seconds "
            f"{'behind' if seconds > 0 else 'ahead of'} the exchange's; up to "
            f"{MAX_COMPENSATED.total_seconds():.0f} are compensated for; correct the host's clock."
        )
