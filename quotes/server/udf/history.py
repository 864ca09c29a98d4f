"""Bars: candles in UDF's columns, with each digit of their prices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from quotes.api.errors import bad_input
from quotes.api.history.candles import MOST
from quotes.api.plans.answers import Answer
from quotes.api.scalars import utc_text
from quotes.market.intervals import EPOCH, Interval
from quotes.server.operations import Streams
from quotes.server.own_queries import data
from quotes.server.udf.parameters import Parameters
from quotes.server.udf.resolutions import interval

SECOND = timedelta(seconds=1)
LONGEST_MONTH = timedelta(days=31)
NO_COUNT = 0

_CANDLES = """query ($ticker: Ticker!, $interval: Interval!, $from: DateTime!, $to: DateTime!) {
  candles(ticker: $ticker, interval: $interval, from: $from, to: $to) {
    openTime open high low close } }"""
_BEFORE = "query ($ticker: Ticker!, $at: DateTime!) { priceAt(ticker: $ticker, at: $at) { at } }"


@dataclass(frozen=True, slots=True)
class Bars:
    """What is answered, as JSON; and the answer that it is made of, if that may be cached."""

    body: bytes
    answer: Answer | None


async def history(streams: Streams, parameters: Parameters) -> Bars:
    """The bars that begin in [from, to): with `countback`, the last ones before `to`, so many.

    At most MOST intervals are looked at, the latest of the range. Raises RefusedError.
    """
    ticker, length = parameters.ticker(), interval(parameters.text("resolution"))
    since, until = parameters.moment("from"), parameters.moment("to")
    if since > until:
        raise bad_input("`from` is later than `to`; the range is [from, to).")
    count = parameters.number("countback", NO_COUNT, least=NO_COUNT, most=MOST)
    until = min(until, streams.context.now() + SECOND)
    earliest = _back(until, length, MOST - 1)
    if count:
        since = _back(until, length, count)
    since = max(since, earliest)
    candles, answer = await _candles(streams, ticker, length, since, until)
    if len(candles) < count and since > earliest:  # there are gaps
        since = earliest
        candles, answer = await _candles(streams, ticker, length, since, until)
    if candles:
        body = await streams.context.thread.run(_columns, candles[-count:])
        return Bars(body, answer)
    return Bars(await _nothing(streams, ticker, length, since), None)


def _back(until: datetime, length: Interval, count: int) -> datetime:
    """So many intervals earlier."""
    step = max(length.length, LONGEST_MONTH) if length.name == "1mo" else length.length
    try:
        return max(until - count * step, EPOCH)
    except OverflowError:
        return EPOCH


async def _candles(
    streams: Streams, ticker: str, length: Interval, since: datetime, until: datetime
) -> tuple[Sequence[dict[str, Any]], Answer | None]:
    if since >= until:
        return [], None
    bounds = {"from": utc_text(since), "to": utc_text(until)}
    found, answer = await data(streams, _CANDLES, ticker=ticker, interval=length.name, **bounds)
    return found["candles"], answer


def _columns(candles: Sequence[dict[str, Any]]) -> bytes:
    """Prices are numbers in this protocol: the text of each stands in the JSON as it is."""
    times = ",".join(str(_seconds(each["openTime"])) for each in candles)
    prices = ",".join(
        f'"{name[0]}":[{",".join([each[name] for each in candles])}]'
        for name in ("open", "high", "low", "close")
    )
    return f'{{"s":"ok","t":[{times}],{prices}}}'.encode()


async def _nothing(streams: Streams, ticker: str, length: Interval, since: datetime) -> bytes:
    """With when the last bar before begins, so that a chart does not look through the gap."""
    found, _ = await data(streams, _BEFORE, ticker=ticker, at=utc_text(since - SECOND))
    if found["priceAt"] is None:
        return b'{"s":"no_data"}'
    start = length.start(datetime.fromisoformat(found["priceAt"]["at"]))
    return b'{"s":"no_data","nextTime":%d}' % start.timestamp()


def _seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())
