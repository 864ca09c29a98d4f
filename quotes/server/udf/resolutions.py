"""UDF's names for the lengths of candles."""

from datetime import timedelta

from quotes.api.errors import bad_input
from quotes.market.coverage import MINUTE
from quotes.market.intervals import INTERVALS, Interval

DAY = timedelta(days=1)


def _name(interval: Interval) -> str:
    """Minutes, or 1D, 1W and 1M."""
    if interval.length < DAY:
        return str(interval.length // MINUTE)
    return interval.name[:2].upper()


RESOLUTIONS = {_name(each): each for each in INTERVALS.values()}
# What the library need not put together itself.
MULTIPLIERS = {
    "intraday_multipliers": [name for name in RESOLUTIONS if name.isdecimal()],
    "daily_multipliers": ["1"],
    "weekly_multipliers": ["1"],
    "monthly_multipliers": ["1"],
}


def interval(resolution: str) -> Interval:
    """Raises RefusedError for another one."""
    name = f"1{resolution}" if resolution in {"D", "W", "M"} else resolution
    if found := RESOLUTIONS.get(name):
        return found
    raise bad_input(f"`resolution` is one of {', '.join(RESOLUTIONS)}, not {resolution[:20]!r}.")
