"""When a price no longer counts as fresh."""

from datetime import datetime, timedelta

STALE_AFTER = timedelta(minutes=2)


def is_stale(
    minute: datetime, observed_at: datetime, now: datetime, halted: datetime | None
) -> bool:
    """Whether the price of that minute is too old, or is of before a halt, however new it is.

    `halted` is the last minute for which the exchange itself made no price, as far as is known.
    """
    return now - observed_at > STALE_AFTER or (halted is not None and minute < halted)
