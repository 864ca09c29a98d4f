"""Shapes: what is shown of an object in memory, by a selection that was compiled once."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from graphql import (
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    is_leaf_type,
)

from quotes.api.execution import attribute_of
from quotes.api.plans.selection import NotPlainError, Selected, Selection

Shape = Callable[[Any], Any]  # the JSON of a value, in Python's types


def shape_of(kind: GraphQLOutputType, selection: Selection | None) -> Shape:
    """What is shown of a value of this kind.

    Raises NotPlainError where more than attributes is selected; so does the shape, for a value
    that is null where none may be.
    """
    if isinstance(kind, GraphQLNonNull):
        return _required(shape_of(kind.of_type, selection))
    if is_leaf_type(kind):
        return _leaf(kind)
    if isinstance(kind, GraphQLList):
        return _list(shape_of(kind.of_type, selection))
    if selection is None:
        raise NotPlainError
    return _object([(each.key, *_attribute(selection.kind, each)) for each in selection])


def _attribute(kind: GraphQLObjectType, selected: Selected) -> tuple[Shape, Shape]:
    if selected.name == "__typename":
        return (lambda _: kind.name), (lambda name: name)
    field = kind.fields.get(selected.name)
    attribute = attribute_of(field) if field else None
    if field is None or attribute is None:
        raise NotPlainError
    return attrgetter(attribute), shape_of(field.type, selected.inner)


def _leaf(kind: GraphQLLeafType) -> Shape:
    coerce = kind.coerce_output_value

    def shape(value: Any) -> Any:
        return None if value is None else coerce(value)

    return shape


def _list(inner: Shape) -> Shape:
    def shape(value: Any) -> Any:
        return None if value is None else [inner(item) for item in value]

    return shape


def _object(fields: list[tuple[str, Shape, Shape]]) -> Shape:
    def shape(value: Any) -> Any:
        if value is None:
            return None
        return {name: inner(attribute(value)) for name, attribute, inner in fields}

    return shape


def _required(inner: Shape) -> Shape:
    def shape(value: Any) -> Any:
        shown = inner(value)
        if shown is None:
            raise NotPlainError
        return shown

    return shape
