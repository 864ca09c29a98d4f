"""Candles of any range, in pieces that the service answers."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import get_args

from quotes.client.endpoint import Endpoint
from quotes.client.frames import Rows
from quotes.client.rows import Candle, Fill, Interval
from quotes.client.wire import moment_text, rows, selection

PIECE = 2_000  # candles; the service answers at most 5,000, and fewer where they cost much

_CANDLES = f"""query ($ticker: Ticker!, $interval: Interval!, $from: DateTime, $to: DateTime,
    $fill: Fill!, $timeZone: TimeZone) {{
  candles(ticker: $ticker, interval: $interval, from: $from, to: $to,
    fill: $fill, timeZone: $timeZone) {selection(Candle)} }}"""
_NEXT = """query ($ticker: Ticker!, $at: DateTime!) {
  priceAt(ticker: $ticker, at: $at, direction: AFTER) { at } }"""

_DAY = timedelta(days=1)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": _DAY, "w": 7 * _DAY}
_SHORTEST_MONTH = 28 * _DAY


async def pieces(  # noqa: PLR0913, PLR0917  # the arguments of `candles`
    endpoint: Endpoint,
    ticker: str,
    interval: Interval,
    since: datetime | None,
    until: datetime | None,
    fill: Fill,
    time_zone: str | None,
) -> AsyncGenerator[Rows[Candle], None]:
    """None is empty. Without `since` there is one, with as many as the service then gives."""
    asked = {"ticker": ticker, "interval": interval, "fill": fill, "timeZone": time_zone}
    length = PIECE * _shortest(interval)
    now = datetime.now(UTC)
    end = now if until is None else min(until, now)
    more = True
    while more:
        more = since is not None and end - since > length
        to = since + length if since is not None and more else until
        variables = {**asked, "from": moment_text(since), "to": moment_text(to)}
        found = rows(Candle, (await endpoint.query(_CANDLES, variables))["candles"])
        if found:
            yield found
        elif more and fill == "NONE" and to is not None:
            to = await _before_next(endpoint, ticker, interval, to)
            more = to is not None
        since = to


async def _before_next(
    endpoint: Endpoint, ticker: str, interval: Interval, moment: datetime
) -> datetime | None:
    """A moment that no candle with a quote begins before; None where there are none any more."""
    quote = (await endpoint.query(_NEXT, {"ticker": ticker, "at": moment_text(moment)}))["priceAt"]
    if quote is None:
        return None
    longest = 2 * _shortest(interval)  # and longer than any: a day of 25 hours, a month of 31 days
    return max(moment, datetime.fromisoformat(quote["at"]) - longest)


def _shortest(interval: Interval) -> timedelta:
    """How long one is at the least, but for the changes of clocks."""
    if interval not in get_args(Interval):
        raise ValueError(
            f"{interval!r} is no interval; it is one of {', '.join(get_args(Interval))}"
        )
    if interval == "1mo":
        return _SHORTEST_MONTH
    return int(interval[:-1]) * _UNITS[interval[-1]]
