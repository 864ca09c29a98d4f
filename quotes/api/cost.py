"""What an operation may cost: computed from the values it is executed with, before it is executed.

A cost is an upper bound of the time that the answer takes, of the event loop and of a database
connection, in microseconds here and in points of a millisecond for clients. The weights are those
that `python bench/cost.py` measures. Whatever way an operation is executed, its root fields are
priced by `price`: by the executor itself, by the plans and before a subscription begins.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple

from graphql import (
    DirectiveLocation,
    GraphQLEnumType,
    GraphQLError,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_argument_values,
    get_named_type,
)
from graphql.execution.executor import Executor as CoreExecutor

from quotes.api import pagination
from quotes.api.context import MAX_TICKERS
from quotes.api.errors import Code, Refusal
from quotes.api.history import candles, gaps, series
from quotes.market.intervals import EPOCH

MAX_COST = 1_000  # points; a largest page with every field is 920
MAX_FIELDS = 500  # selected ones, once fragments are spread; the explorer's introspection has 250
POINT = 1_000  # microseconds

VALUE = 7.0  # of an answer, executed field by field
STATEMENT = 1_000.0  # a statement, besides its rows
ROW = 1.0  # one that is read as it is
ROLLED = 1.0  # one that is rolled up with others
LOOKUP = 20.0  # of one ticker's newest or oldest row, among others
ZONED = 20.0  # the bound of a candle by a zone's clocks
MADE = 15.0  # a candle or a gap that is put together here
HOUR_OF_GAPS = 2.0  # one whose minutes are looked through
NAME = 32  # characters of an alias that count as one value more

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FIRST_PRICE = datetime(2010, 7, 1, tzinfo=UTC)  # when bitcoin was first traded: no index is older
TICKERS = 300  # where all are meant; the exchange publishes fewer

Arguments = Mapping[str, Any]


class Values(NamedTuple):
    """How many values a root field's answer holds: besides its rows, and in each of them."""

    once: float
    each: float


class Work(NamedTuple):
    """What a root field takes besides its values."""

    rows: int  # of its answer, at the most
    time: float  # microseconds


def _prices(arguments: Arguments, now: datetime) -> Work:
    first, last = arguments.get("first"), arguments.get("last")
    asked = last if first is None else first
    rows = pagination.DEFAULT_SIZE if asked is None else _within(asked, pagination.LARGEST_SIZE)
    return Work(rows, STATEMENT + ROW * rows)


def _candles(arguments: Arguments, now: datetime) -> Work:
    """The rows are the minutes of the range or, of candles of an hour and longer, its hours."""
    length, zone = arguments["interval"].length, arguments.get("timeZone")
    until = min(arguments.get("to") or now, now)
    since = arguments.get("from")
    rows = candles.USUAL if since is None else ceil((until - max(since, EPOCH)) / length) + 1
    rows = _within(rows, candles.MOST)
    read = min(rows * length, now - FIRST_PRICE) / (MINUTE if length < HOUR else HOUR)
    time = STATEMENT + ROLLED * read
    if zone is not None:
        time += rows * (ZONED + (60 * ROLLED if length >= HOUR else 0))  # it may cut hours in two
    if arguments.get("fill") not in {None, candles.Fill.NONE}:
        time += rows * MADE
    return Work(rows, time)


def _series(arguments: Arguments, now: datetime) -> Work:
    points = arguments.get("maxPoints")
    rows = _within(series.USUAL if points is None else points, series.MOST)
    length = _length(arguments, now)
    read = length / MINUTE if length <= series.FINE else length / HOUR + rows
    return Work(rows, 4 * STATEMENT + ROLLED * read)


def _gaps(arguments: Arguments, now: datetime) -> Work:
    first = arguments.get("first")
    rows = _within(gaps.USUAL if first is None else first, gaps.MOST)
    return Work(rows, 3 * STATEMENT + HOUR_OF_GAPS * (_length(arguments, now) / HOUR) + MADE * rows)


def _length(arguments: Arguments, now: datetime) -> timedelta:
    """Of [from, to), as far as there can be quotes."""
    since = max(arguments.get("from") or FIRST_PRICE, FIRST_PRICE)
    return max(min(arguments.get("to") or now, now) - since, timedelta())


def _of_tickers(arguments: Arguments, now: datetime) -> Work:
    tickers = arguments.get("tickers")
    rows = TICKERS if tickers is None else _within(len(tickers), MAX_TICKERS)
    return Work(rows, STATEMENT + LOOKUP * rows)


def _tickers(arguments: Arguments, now: datetime) -> Work:
    return Work(TICKERS, 5 * STATEMENT + 5 * LOOKUP * TICKERS)


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
_LENGTHS = {("TickerInfo", "unfinishedCharts"): 6}  # of lists that are no rows
# Fields that take a statement of their own.
_READ = {("PageInfo", "hasNextPage"), ("PageInfo", "hasPreviousPage")}


def price(name: str, values: Values, arguments: Arguments, now: datetime) -> float:
    """Microseconds that a root field takes, with its arguments as its resolver gets them."""
    rows, time = _WORK[name](arguments, now) if name in _WORK else (1, 0.0)
    return time + VALUE * (values.once + rows * values.each)


def of(executor: CoreExecutor[Any], root: GraphQLObjectType, fields: Any, now: datetime) -> float:
    """Microseconds that an operation takes whose root fields have been collected.

    Raises Refusal where it selects more than MAX_FIELDS.
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
        whole += price(node.name.value, values, arguments, now)
    return whole


def require(time: float) -> None:
    """Raises Refusal for an operation that takes longer than any may."""
    if (cost := points(time)) > MAX_COST:
        raise Refusal(
            Code.BAD_INPUT,
            f"The operation could cost {cost:,} points, and {MAX_COST:,} are the most. Ask for "
            "less: smaller pages (`first`), shorter ranges, fewer fields, or several requests.",
            cost={"requested": cost, "limit": MAX_COST},
        )


def points(time: float) -> int:
    return max(ceil(time / POINT), 1)


class Counter:
    """Counts the values that selections show, and no more than MAX_FIELDS selected fields."""

    def __init__(self, executor: CoreExecutor[Any]) -> None:
        self._executor = executor
        self._fields = 0

    def values(
        self, parent: GraphQLObjectType, key: str, details: Any, *, typical: bool = False
    ) -> Values:
        """Of one field of `parent`; `typical` where that is one of all the schema's types.

        Raises Refusal for too many fields.
        """
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise Refusal(
                Code.BAD_INPUT,
                f"The operation selects more than {MAX_FIELDS:,} fields, once its fragments are "
                "spread. Ask for fewer, or in several requests.",
            )
        name = details[0].node.name.value
        own = 1 + len(key) // NAME + (STATEMENT / VALUE if (parent.name, name) in _READ else 0)
        definition = self._executor.schema.get_field(parent, name)
        if definition is None:
            return Values(own, 0)
        listed = _is_list(definition.type)
        typical = name == "types" or (typical and listed)
        inner = self.inner(get_named_type(definition.type), details, typical=typical)
        if not listed:
            return Values(own + inner.once, inner.each)
        length = self._length(parent, name, typical=typical)
        if length is None:
            return Values(own, inner.once + inner.each + 1)
        return Values(own + length * (inner.once + 1), length * inner.each)

    def inner(self, kind: object, details: Any, *, typical: bool = False) -> Values:
        """Of what is selected of one object."""
        if not isinstance(kind, GraphQLObjectType):
            return Values(0, 0)
        collected = self._executor.collect_subfields(kind, details).grouped_field_set
        counted = [
            self.values(kind, key, fields, typical=typical) for key, fields in collected.items()
        ]
        return Values(sum(each.once for each in counted), sum(each.each for each in counted))

    def _length(self, parent: GraphQLObjectType, name: str, *, typical: bool) -> float | None:
        """Of a list; None where it holds the field's rows."""
        if parent.name.startswith("__"):
            return _introspected(self._executor.schema, typical=typical)[name]
        return _LENGTHS.get((parent.name, name))


def _is_list(kind: object) -> bool:
    while isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    return isinstance(kind, GraphQLList)


@lru_cache(8)
def _introspected(schema: GraphQLSchema, *, typical: bool) -> Mapping[str, float]:
    """How long introspection's lists are: of one of all types on average, else at the most."""
    kinds = list(schema.type_map.values())
    fields = [list(kind.fields.values()) if hasattr(kind, "fields") else [] for kind in kinds]
    of_kinds = {
        "fields": list(map(len, fields)),
        "args": [len(getattr(each, "args", ())) for every in fields for each in every],
        "enumValues": [len(kind.values) for kind in kinds if isinstance(kind, GraphQLEnumType)],
    }
    lengths = {
        name: sum(each) / len(kinds) if typical else max(each, default=0)
        for name, each in of_kinds.items()
    }
    return {
        **lengths,
        "types": len(kinds),
        "directives": len(schema.directives),
        "inputFields": lengths["fields"],
        "interfaces": 1,
        "possibleTypes": 1,
        "locations": len(DirectiveLocation),
    }
