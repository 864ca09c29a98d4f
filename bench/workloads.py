"""What bench/queries requests: the same of all sides, and the rows that their answers hold."""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from quotes.database.log import store
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions

TICKERS = [f"t{number:02}_usd" for number in range(20)]
DAYS = 100
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
QUARTER = TODAY - 90 * DAY

Body = dict[str, Any]
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Workload:
    """Requests for the same on all sides, and the rows that an answer of any of them holds."""

    name: str
    ours: Sequence[Body]
    theirs: Sequence[Body]
    rows: Callable[[Any], Rows]  # of an answer's data, from whichever side
    bare: Sequence[str] = ()  # paths
    writes: Callable[["Writer"], Any] | None = None  # once a second meanwhile
    feed: bool = True  # whether this service's feed is current


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def nodes_of(data: Any) -> list[dict[str, Any]]:
    found = next(iter(data.values())) if isinstance(data, dict) else data
    if isinstance(found, dict):
        found = found.get("nodes", [found])
    return list(found)


def quotes(data: Any) -> Rows:
    nodes = nodes_of(data)
    return [(time_of(each.get("at") or each["minute"]), Decimal(each["price"])) for each in nodes]


def candles(data: Any) -> Rows:
    names = ("open", "high", "low", "close")
    return [
        (time_of(each.get("openTime") or each["hour"]), *(Decimal(each[name]) for name in names))
        for each in nodes_of(data)
    ]


def utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


LATEST = "query ($t: Ticker!) { latestPrice(ticker: $t) { ticker price at observedAt } }"
THEIR_LATEST = """
    query ($t: [String]) { newestQuotes(tickers: $t) { nodes { ticker price minute observedAt } } }
"""
LATESTS = "query ($t: [Ticker!]) { latestPrices(tickers: $t) { ticker price at observedAt } }"
DAY_OF = """
    query ($t: Ticker!, $d: Date!) { prices(ticker: $t, date: $d) { nodes { at price cursor } } }
"""
THEIR_SPAN = """
    query ($t: String!, $a: Datetime!, $b: Datetime!, $n: Int!) {
      quotesBetween(name: $t, since: $a, until: $b, most: $n) { nodes { minute price seq } } }
"""
PAGES = """
    query ($t: Ticker!, $a: DateTime!, $b: DateTime!) {
      prices(ticker: $t, from: $a, to: $b, first: 10000) { nodes { at price cursor } } }
"""
CANDLES = """
    query ($t: Ticker!, $a: DateTime!, $b: DateTime!) {
      candles(ticker: $t, interval: "1h", from: $a, to: $b) {
        openTime open high low close count } }
"""
THEIR_HOURS = """
    query ($t: String!, $a: Datetime!, $b: Datetime!) {
      hoursBetween(name: $t, since: $a, until: $b) { nodes { hour open high low close count } } }
"""
SERIES = """
    query ($t: Ticker!, $a: DateTime!, $b: DateTime!) {
      series(ticker: $t, from: $a, to: $b, maxPoints: 1000) { times prices count } }
"""


def body(query: str, **variables: object) -> Body:
    return {"query": query, "variables": variables}


def day(ticker: str, since: datetime) -> tuple[Body, Body, str]:
    span = {"t": ticker, "a": utc(since), "b": utc(since + DAY), "n": 1_440}
    bare = f"/day?ticker={ticker}&day={since.date()}"
    return body(DAY_OF, t=ticker, d=str(since.date())), body(THEIR_SPAN, **span), bare


def workloads() -> list[Workload]:
    one = TICKERS[3]
    days = [day(name, TODAY - n * DAY) for name in TICKERS for n in range(1, 91)]
    random.Random(1).shuffle(days)  # noqa: S311  # no secret
    closed, today = day(one, TODAY - 5 * DAY), day(one, TODAY)
    quarter = {"t": one, "a": utc(QUARTER), "b": utc(TODAY)}
    latest = body(LATEST, t=one), body(THEIR_LATEST, t=[one]), f"/latest?ticker={one}"
    many = ",".join(TICKERS)
    return [
        Workload("__typename", [body("{ __typename }")], [body("{ __typename }")], typename),
        Workload("latestPrice", [latest[0]], [latest[1]], quotes, [latest[2]]),
        Workload(
            "latestPrice, 20 prices written each second",
            [latest[0]], [latest[1]], quotes, [latest[2]], Writer.minute,
        ),
        Workload(
            "latestPrice, read from the database",
            [latest[0]], [latest[1]], quotes, [latest[2]], feed=False,
        ),
        Workload(
            "latestPrices of 20",
            [body(LATESTS, t=TICKERS)], [body(THEIR_LATEST, t=TICKERS)], quotes,
            [f"/latest?ticker={many}"],
        ),
        Workload("a day's prices, one of 1,800 days each time", *columns(days)),
        Workload("today's prices, growing each second", *columns([today]), Writer.minute),
        Workload("a closed day, a late row each second", *columns([closed]), Writer.late),
        Workload(
            "candles, 1h over 90 days", [body(CANDLES, **quarter)],
            [body(THEIR_HOURS, **quarter)], candles,
        ),
        Workload(
            "series, 90 days in 1,000 points (PostGraphile: the hours)",
            [body(SERIES, **quarter)], [body(THEIR_HOURS, **quarter)], lambda _: [],
        ),
    ]  # fmt: skip


def pages() -> Workload:
    """100,800 quotes, to be read one page after the other."""
    starts = [QUARTER + n * 10_000 * MINUTE for n in range(11)]
    ends = [min(start + 10_000 * MINUTE, QUARTER + 100_800 * MINUTE) for start in starts]
    spans = [
        {"t": TICKERS[3], "a": utc(since), "b": utc(until)}
        for since, until in zip(starts, ends, strict=True)
    ]
    return Workload(
        "100,800 quotes in 11 pages",
        [body(PAGES, **span) for span in spans],
        [body(THEIR_SPAN, **span, n=10_000) for span in spans],
        quotes,
    )


def typename(data: Any) -> Rows:
    return [(data["__typename"],)]


def columns(
    days: Sequence[tuple[Body, Body, str]],
) -> tuple[list[Body], list[Body], Callable[[Any], Rows], list[str]]:
    ours, theirs, bare = (list(each) for each in zip(*days, strict=True))
    return ours, theirs, quotes, bare


class Writer:
    """Stores quotes as a worker would."""

    def __init__(self, sessions: Sessions, end: datetime, tickers: Sequence[str] = TICKERS) -> None:
        self._sessions = sessions
        self._end = end
        self._tickers = tickers
        self._late = itertools.count()

    async def minute(self) -> None:
        await self._store(self.next_minute())

    def next_minute(self) -> list[Quote]:
        self._end += MINUTE
        return [self._quote(ticker, self._end, Origin.LIVE) for ticker in self._tickers]

    async def late(self) -> None:
        """A minute that was missing; see `database`."""
        missing = TODAY - 5 * DAY + next(self._late) * MINUTE
        await self._store([self._quote(TICKERS[3], missing, Origin.REPAIRED)])

    def _quote(self, ticker: str, minute: datetime, origin: Origin) -> Quote:
        return Quote(
            ticker=ticker, minute=minute, price=Decimal("100000.5"), source="deribit",
            observed_at=minute + timedelta(seconds=1), origin=origin,
        )  # fmt: skip

    async def _store(self, quotes: list[Quote]) -> None:
        async with self._sessions.begin() as session:
            await store.insert(session, quotes)
