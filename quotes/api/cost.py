"""What an operation may cost: computed from the values it is executed with, before it is executed.

A cost is an upper bound of the CPU time that the answer takes of this process and of the database:
in microseconds here, and in points of a millisecond for clients. The weights are what
`bench/cost.py` measures, rounded up. Whatever way an operation is executed, its root fields are
priced by `price`: by the executor itself, by the plans and before a subscription begins.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any, NamedTuple

from graphql import GraphQLError, GraphQLObjectType, get_argument_values

from quotes.api import pagination
from quotes.api.context import MAX_TICKERS
from quotes.api.errors import Code, RefusedError, bad_input
from quotes.api.execution import Execution, Places, name_of, nodes_of
from quotes.api.history import candles, gaps, series, sparklines
from quotes.api.history.price_at import DAY
from quotes.api.selected_values import STATEMENT, VALUE, Counter, Values
from quotes.market.charts import OLDEST
from quotes.market.intervals import EPOCH
from quotes.settings import MAX_COST

MAX_VALUES = 150_000  # of an answer, which bounds its length; a largest page has 140,000
POINT = 1_000  # microseconds

# Microseconds:
SHAPED = 5.0  # a value that is written here, of an object
RESOLVED = 2_000.0  # a statement by SQLAlchemy
ROW = 0.5  # one that is read as it is
ROLLED = 1.7  # one that is rolled up with others
THINNED_HOUR, THINNED_MINUTE = 3.5, 4.0  # of a series
LOOKUP = 20.0  # of one ticker's newest or oldest row, among others
ZONED = 20.0  # the bound of a candle by a zone's clocks
FILLED = 10.0  # a candle that is put together here
COUNTED_HOUR = 1.0  # one whose minutes are counted
LISTED_HOUR = 18.0  # one whose minutes are looked through

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# Where all are meant: the exchange has fewer. How many are stored is not known without a read; and
# where they are more, too little is paid at first, and the rest by the answer's rows.
TICKERS = 300

Arguments = Mapping[str, Any]


class Work(NamedTuple):
    """What a root field takes, in microseconds."""

    rows: int  # of its answer, at the most
    once: float
    each: float = 0.0  # row, besides its values
    value: float = SHAPED


class Price(NamedTuple):
    """What a root field takes, in microseconds, and how much it shows."""

    rows: int  # of its answer, at the most
    once: float
    each: float  # row
    values: float = 0.0  # at the most

    @property
    def most(self) -> float:
        return self.once + self.rows * self.each

    def of(self, rows: int) -> float:
        """With so many rows in its answer."""
        return self.once + rows * self.each


NOTHING = Price(0, 0.0, 0.0)


def _prices(arguments: Arguments, now: datetime) -> Work:
    first, last = arguments.get("first"), arguments.get("last")
    asked = last if first is None else first
    rows = pagination.DEFAULT_SIZE if asked is None else _within(asked, pagination.LARGEST_SIZE)
    return Work(rows, STATEMENT, ROW, VALUE)


def _candles(arguments: Arguments, now: datetime) -> Work:
    """The rows are the minutes of the range or, of candles of an hour and longer, its hours."""
    length, zone = arguments["interval"].length, arguments.get("timeZone")
    until = min(arguments.get("to") or now, now)
    since = arguments.get("from")
    rows = candles.USUAL if since is None else ceil((until - max(since, EPOCH)) / length) + 1
    rows = _within(rows, candles.MOST)
    read = min(rows * length, now - OLDEST) / (MINUTE if length < HOUR else HOUR)
    once = RESOLVED + ROLLED * read
    if zone is not None:
        once += rows * (ZONED + (60 * ROLLED if length >= HOUR else 0))  # it may cut hours in two
    if arguments.get("fill") in {None, candles.Fill.NONE}:
        return Work(rows, once, value=VALUE)
    return Work(rows, once, FILLED)


def _series(arguments: Arguments, now: datetime) -> Work:
    points = arguments.get("maxPoints")
    rows = _within(series.USUAL if points is None else points, series.MOST)
    length = _length(arguments, now)
    read = THINNED_MINUTE * length / MINUTE
    if length > series.FINE:
        read = THINNED_HOUR * length / HOUR + THINNED_MINUTE * rows
    return Work(rows, 4 * RESOLVED + read, value=VALUE)


def _sparklines(arguments: Arguments, now: datetime) -> Work:
    """The rows are the points of all tickers."""
    asked, points = arguments.get("tickers"), arguments.get("points")
    tickers = TICKERS if asked is None else _within(len(asked), MAX_TICKERS)
    points = sparklines.USUAL if points is None else points
    window = min(arguments.get("window") or DAY, now - OLDEST)
    read = ROLLED * (window / HOUR if sparklines.hours(window, points) else 0)
    rows = tickers * _within(points, sparklines.MOST)
    return Work(rows, 3 * RESOLVED + tickers * (2 * LOOKUP + read), value=VALUE)


def _gaps(arguments: Arguments, now: datetime) -> Work:
    first = arguments.get("first")
    rows = _within(gaps.USUAL if first is None else first, gaps.MOST)
    once = 4 * RESOLVED + COUNTED_HOUR * _length(arguments, now) / HOUR
    return Work(rows, once + LISTED_HOUR * gaps.MORE_HOURS, 2 * LISTED_HOUR)


def _length(arguments: Arguments, now: datetime) -> timedelta:
    """Of [from, to), as far as there can be quotes."""
    since = max(arguments.get("from") or OLDEST, OLDEST)
    return max(min(arguments.get("to") or now, now) - since, timedelta())


def _of_tickers(arguments: Arguments, now: datetime) -> Work:
    tickers = arguments.get("tickers")
    rows = TICKERS if tickers is None else _within(len(tickers), MAX_TICKERS)
    return Work(rows, STATEMENT, LOOKUP)


def _tickers(arguments: Arguments, now: datetime) -> Work:
    return Work(TICKERS, 6 * RESOLVED, 5 * LOOKUP)


def _within(asked: int, most: int) -> int:
    """More is refused by the field itself."""
    return min(max(asked, 0), most)


def _lookups(number: int) -> Callable[[Arguments, datetime], Work]:
    work = Work(1, number * RESOLVED)
    return lambda *_: work


_WORK: Mapping[str, Callable[[Arguments, datetime], Work]] = {
    "candles": _candles,
    "candleUpdates": _lookups(20),
    "change": _lookups(3),
    "constituents": _lookups(1),
    "gaps": _gaps,
    "latestPrice": _lookups(1),
    "latestPrices": _of_tickers,
    "priceAt": _lookups(2),
    "priceUpdates": _of_tickers,
    "prices": _prices,
    "series": _series,
    "sparklines": _sparklines,
    "tickers": _tickers,
}


def price(name: str, values: Values, arguments: Arguments, now: datetime) -> Price:
    """Of a root field, with its arguments as its resolver gets them."""
    work = _WORK[name](arguments, now) if name in _WORK else Work(1, 0.0)
    return Price(
        work.rows,
        work.once + work.value * values.once,
        work.each + work.value * values.each,
        values.once + work.rows * values.each,
    )


def of(
    execution: Execution, root: GraphQLObjectType, fields: Mapping[str, Places], now: datetime
) -> list[Price]:
    """Of an operation's root fields.

    Raises RefusedError where it selects too many fields.
    """
    counter = Counter(execution)
    prices = []
    for key, places in fields.items():
        name = name_of(places)
        values = counter.values(root, key, places)
        definition = root.fields.get(name)
        try:
            arguments = (
                {}  # of the schema's own fields
                if definition is None
                else get_argument_values(definition, nodes_of(places)[0], execution.variable_values)
            )
        except GraphQLError:
            continue  # it has no answer but this error
        prices.append(price(name, values, arguments, now))
    return prices


def required(prices: Sequence[Price]) -> int:
    """Points that an operation costs with as many rows as it may have.

    Raises RefusedError for one that takes longer, or shows more, than any may.
    """
    if (cost := points(sum([each.most for each in prices]))) > MAX_COST:
        raise RefusedError(
            Code.BAD_INPUT,
            f"The operation could cost {cost:,} points, and {MAX_COST:,} are the most. {_LESS}",
            cost={"requested": cost, "limit": MAX_COST},
        )
    if (values := sum([each.values for each in prices])) > MAX_VALUES:
        raise bad_input(
            f"The answer could hold {ceil(values):,} values, and {MAX_VALUES:,} are the most. "
            f"{_LESS}"
        )
    return cost


_LESS = "Ask for less: smaller pages (`first`), shorter ranges, fewer fields, or several requests."


def points(time: float) -> int:
    return max(ceil(time / POINT), 1)
