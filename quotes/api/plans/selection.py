"""What a document selects of an object, with its fragments and directives resolved."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLObjectType, get_named_type

from quotes.api.execution import Executor

# Fields that each answer gives anew, by their types: an age, what the indexes are made of just now,
# and the end of the log.
OF_THE_MOMENT = {
    ("Quote", "ageSeconds"),
    ("Quote", "stale"),
    ("Quote", "confidence"),
    ("Series", "cursor"),
}


class NotPlainError(Exception):
    """A selection needs more than attributes, or a value does not fit its type."""


@dataclass(frozen=True, slots=True)
class Selected:
    """One field of a selection; `inner` is what is selected of it, None for a leaf."""

    key: str  # its alias, or its name
    name: str
    inner: "Selection | None"


@dataclass(frozen=True, slots=True)
class Selection:
    """The fields of one object, in the order of the answer."""

    kind: GraphQLObjectType
    fields: tuple[Selected, ...]

    def __iter__(self) -> Iterator[Selected]:
        return iter(self.fields)

    @property
    def type_name(self) -> str:
        return self.kind.name

    def selects(self, name: str) -> bool:
        return any(each.name == name for each in self.fields)

    def of_the_moment(self) -> bool:
        """Whether it holds a field whose value depends on when it is answered."""
        return any(
            (self.type_name, each.name) in OF_THE_MOMENT
            or (each.inner is not None and each.inner.of_the_moment())
            for each in self.fields
        )


def selection(executor: Executor, kind: Any, details: Any) -> Selection | None:
    """What `details`, the nodes of one field of type `kind`, select; None for a leaf.

    Raises NotPlainError for what is delivered in parts.
    """
    named = get_named_type(kind)
    if not isinstance(named, GraphQLObjectType):
        return None
    collected = executor.collect_subfields(named, details)
    if collected.new_defer_usages:
        raise NotPlainError
    return Selection(
        named,
        tuple(
            Selected(key, fields[0].node.name.value, _inner(executor, named, fields))
            for key, fields in collected.grouped_field_set.items()
        ),
    )


def _inner(executor: Executor, parent: GraphQLObjectType, details: Any) -> Selection | None:
    name = details[0].node.name.value
    return None if name == "__typename" else selection(executor, parent.fields[name].type, details)
