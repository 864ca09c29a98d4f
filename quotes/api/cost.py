"""What an operation may cost: computed from the values it is executed with, before it is executed.

A cost is an upper bound of the time that the answer takes, of the event loop and of a database
connection, in microseconds here and in points of a millisecond for clients. The weights are
estimates, meant to be too high rather than too low. Whatever way an operation is executed, its root
fields are priced by `price`: by the executor itself, by the plans and before a subscription begins.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import Any, NamedTuple

from graphql import GraphQLError, GraphQLObjectType, get_argument_values
from graphql.execution.executor import Executor as CoreExecutor

from quotes.api import pagination
from quotes.api.context import MAX_TICKERS
from quotes.api.errors import Code, RefusedError
from quotes.api.history import candles, gaps, series
from quotes.api.selected_values import STATEMENT, VALUE, Counter, Values
from quotes.market.charts import OLDEST
from quotes.market.intervals import EPOCH
from quotes.settings import MAX_COST

POINT = 1_000  # microseconds

ROW = 1.0  # one that is read as it is
ROLLED = 1.0  # one that is rolled up with others
LOOKUP = 20.0  # of one ticker's newest or oldest row, among others
ZONED = 20.0  # the bound of a candle by a zone's clocks
MADE = 15.0  # a candle or a gap that is put together here
HOUR_OF_GAPS = 2.0  # one whose minutes are looked through

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TICKERS = 300  # where all are meant; the exchange publishes fewer

Arguments = Mapping[str, Any]


class Work(NamedTuple):
    """What a root field takes besides its values, in microseconds."""

    rows: int  # of its answer, at the most
    once: float
    each: float = 0.0  # row


class Price(NamedTuple):
    """What a root field takes, in microseconds."""

    rows: int  # of its answer, at the most
    once: float
    each: float  # row

    @property
    def most(self) -> float:
        return self.of(self.rows)

    def of(self, rows: int) -> float:
        """With so many rows in its answer."""
        return self.once + rows * self.each


NOTHING = Price(0, 0.0, 0.0)


def _prices(arguments: Arguments, now: datetime) -> Work:
    first, last = arguments.get("first"), arguments.get("last")
    asked = last if first is None else first
    rows = pagination.DEFAULT_SIZE if asked is None else _within(asked, pagination.LARGEST_SIZE)
    return Work(rows, STATEMENT, ROW)


def _candles(arguments: Arguments, now: datetime) -> Work:
    """The rows are the minutes of the range or, of candles of an hour and longer, its hours."""
    length, zone = arguments["interval"].length, arguments.get("timeZone")
    until = min(arguments.get("to") or now, now)
    since = arguments.get("from")
    rows = candles.USUAL if since is None else ceil((until - max(since, EPOCH)) / length) + 1
    rows = _within(rows, candles.MOST)
    read = min(rows * length, now - OLDEST) / (MINUTE if length < HOUR else HOUR)
    once = STATEMENT + ROLLED * read
    if zone is not None:
        once += rows * (ZONED + (60 * ROLLED if length >= HOUR else 0))  # it may cut hours in two
    filled = arguments.get("fill") not in {None, candles.Fill.NONE}
    return Work(rows, once, MADE if filled else 0.0)


def _series(arguments: Arguments, now: datetime) -> Work:
    points = arguments.get("maxPoints")
    rows = _within(series.USUAL if points is None else points, series.MOST)
    length = _length(arguments, now)
    read = length / MINUTE if length <= series.FINE else length / HOUR + rows
    return Work(rows, 4 * STATEMENT + ROLLED * read)


def _gaps(arguments: Arguments, now: datetime) -> Work:
    first = arguments.get("first")
    rows = _within(gaps.USUAL if first is None else first, gaps.MOST)
    return Work(rows, 3 * STATEMENT + HOUR_OF_GAPS * (_length(arguments, now) / HOUR), MADE)


def _length(arguments: Arguments, now: datetime) -> timedelta:
    """Of [from, to), as far as there can be quotes."""
    since = max(arguments.get("from") or OLDEST, OLDEST)
    return max(min(arguments.get("to") or now, now) - since, timedelta())


def _of_tickers(arguments: Arguments, now: datetime) -> Work:
    tickers = arguments.get("tickers")
    rows = TICKERS if tickers is None else _within(len(tickers), MAX_TICKERS)
    return Work(rows, STATEMENT, LOOKUP)


def _tickers(arguments: Arguments, now: datetime) -> Work:
    return Work(TICKERS, 6 * STATEMENT, 5 * LOOKUP)


def _within(asked: int, most: int) -> int:
    """More is refused by the field itself."""
    return min(max(asked, 0), most)


def _lookups(number: int) -> Callable[[Arguments, datetime], Work]:
    work = Work(1, number * STATEMENT)
    return lambda *_: work


_WORK: Mapping[str, Callable[[Arguments, datetime], Work]] = {
    "candles": _candles,
    "candleUpdates": _lookups(20),
    "change": _lookups(3),
    "gaps": _gaps,
    "latestPrice": _lookups(1),
    "latestPrices": _of_tickers,
    "priceAt": _lookups(2),
    "priceUpdates": _of_tickers,
    "prices": _prices,
    "series": _series,
    "tickers": _tickers,
}


def price(name: str, values: Values, arguments: Arguments, now: datetime) -> Price:
    """Of a root field, with its arguments as its resolver gets them."""
    work = _WORK[name](arguments, now) if name in _WORK else Work(1, 0.0)
    return Price(work.rows, work.once + VALUE * values.once, work.each + VALUE * values.each)


def of(executor: CoreExecutor[Any], root: GraphQLObjectType, fields: Any, now: datetime) -> float:
    """Microseconds that an operation takes whose root fields have been collected.

    Raises RefusedError where it selects too many fields.
    """
    counter = Counter(executor)
    whole = 0.0
    for key, details in fields.items():
        node = details[0].node
        values = counter.values(root, key, details)
        definition = root.fields.get(node.name.value)
        if definition is None:  # the schema's own
            whole += VALUE * (values.once + values.each)
            continue
        try:
            arguments = get_argument_values(definition, node, executor.variable_values)
        except GraphQLError:
            continue  # it has no answer but this error
        whole += price(node.name.value, values, arguments, now).most
    return whole


def require(time: float) -> None:
    """Raises RefusedError for an operation that takes longer than any may."""
    if (cost := points(time)) > MAX_COST:
        raise RefusedError(
            Code.BAD_INPUT,
            f"The operation could cost {cost:,} points, and {MAX_COST:,} are the most. Ask for "
            "less: smaller pages (`first`), shorter ranges, fewer fields, or several requests.",
            cost={"requested": cost, "limit": MAX_COST},
        )


def points(time: float) -> int:
    return max(ceil(time / POINT), 1)
