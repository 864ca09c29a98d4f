"""How long quotes take to reach those who subscribe to them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from quotes import metrics
from quotes.database.models import Origin, Quote


def measure(quotes: Sequence[Quote], messages: int, seconds: float) -> None:
    """Record a delivery by the fan-out. Repaired quotes are of minutes long past."""
    metrics.MESSAGES.observe(messages)
    metrics.FAN_OUT.observe(seconds)
    now = datetime.now(UTC)
    for quote in quotes:
        if quote.origin == Origin.LIVE:
            metrics.DELIVERY.observe(max(0.0, (now - quote.observed_at).total_seconds()))
