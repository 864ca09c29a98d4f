"""What a document selects of an object, with its fragments and directives resolved."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLObjectType, get_named_type

from quotes.api.execution import Execution, Places, name_of

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


def selection(execution: Execution, kind: Any, places: Places) -> Selection | None:
    """What one field of type `kind` selects; None for a leaf.

    Raises NotPlainError for what is delivered in parts.
    """
    named = get_named_type(kind)
    if not isinstance(named, GraphQLObjectType):
        return None
    fields, in_parts = execution.selected(named, places)
    if in_parts:
        raise NotPlainError
    return Selection(
        named,
        tuple(
            Selected(key, name_of(inner), _inner(execution, named, inner))
            for key, inner in fields.items()
        ),
    )


def _inner(execution: Execution, parent: GraphQLObjectType, places: Places) -> Selection | None:
    name = name_of(places)
    return None if name == "__typename" else selection(execution, parent.fields[name].type, places)
