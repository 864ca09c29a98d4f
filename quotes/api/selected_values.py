"""How many values an answer holds, counted from what its operation selects."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from graphql import (
    DirectiveLocation,
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
)

from quotes.api.errors import Code, RefusedError
from quotes.api.execution import Execution, Places, name_of
from quotes.market.constituents import MOST

MAX_FIELDS = 500  # selected ones, once fragments are spread; the explorer's introspection has 250
NAME = 32  # characters of an alias that count as one value more
VALUE = 1.0  # microseconds of a value that the database writes
STATEMENT = 700.0  # microseconds of a statement, besides its rows

# Of lists that are no rows.
_LENGTHS = {("TickerInfo", "unfinishedCharts"): 6, ("Constituents", "nodes"): MOST}
# Fields that take a statement of their own.
_READ = {("PageInfo", "hasNextPage"), ("PageInfo", "hasPreviousPage")}


class Values(NamedTuple):
    """How many values a root field's answer holds: besides its rows, and in each of them."""

    once: float
    each: float


class Counter:
    """Counts the values that selections show, and no more than MAX_FIELDS selected fields."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._fields = 0

    def values(
        self, parent: GraphQLObjectType, key: str, places: Places, *, typical: bool = False
    ) -> Values:
        """Of one field of `parent`; `typical` where that is one of all the schema's types.

        Raises RefusedError for too many fields.
        """
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise RefusedError(
                Code.BAD_INPUT,
                f"The operation selects more than {MAX_FIELDS:,} fields, once its fragments are "
                "spread. Ask for fewer, or in several requests.",
            )
        name = name_of(places)
        own = 1 + len(key) // NAME + (STATEMENT / VALUE if (parent.name, name) in _READ else 0)
        definition = self._execution.schema.get_field(parent, name)
        if definition is None:
            return Values(own, 0)
        listed = _is_list(definition.type)
        typical = name == "types" or (typical and listed)
        inner = self.inner(get_named_type(definition.type), places, typical=typical)
        if not listed:
            return Values(own + inner.once, inner.each)
        length = self._length(parent, name, typical=typical)
        if length is None:
            return Values(own, inner.once + inner.each + 1)
        return Values(own + length * (inner.once + 1), length * inner.each)

    def inner(self, kind: object, places: Places, *, typical: bool = False) -> Values:
        """Of what is selected of one object."""
        if not isinstance(kind, GraphQLObjectType):
            return Values(0, 0)
        fields = self._execution.selected(kind, places).fields
        counted = [self.values(kind, key, each, typical=typical) for key, each in fields.items()]
        return Values(sum(each.once for each in counted), sum(each.each for each in counted))

    def _length(self, parent: GraphQLObjectType, name: str, *, typical: bool) -> float | None:
        """Of a list; None where it holds the field's rows."""
        if parent.name.startswith("__"):
            return _introspected(self._execution.schema, typical=typical)[name]
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
