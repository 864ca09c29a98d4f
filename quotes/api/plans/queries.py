"""What each valid document is compiled into: for each root field a step that reads it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from itertools import repeat
from typing import Any, cast

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    Visitor,
    get_argument_values,
    get_operation_ast,
    visit,
)
from graphql.execution.collect_fields import collect_fields
from graphql.execution.values import VariableValues, get_variable_values

from quotes.api import cost
from quotes.api.context import Context
from quotes.api.execution import Executor, NotPlainError
from quotes.api.payloads import MAX_DOCUMENTS, valid
from quotes.api.plans.scope import FOREVER
from quotes.api.plans.selection import selection
from quotes.api.plans.steps import Arguments, Read, Root, Step, step_of
from quotes.api.schema import schema

MAX_VARIANTS = 16  # plans of one operation, by what its @skip and @include leave

_core = schema._schema  # noqa: SLF001  # graphql-core's own schema has no public name
_query = cast("GraphQLObjectType", _core.query_type)

Variables = dict[str, Any]
Steps = Sequence[tuple[bytes, Step, Arguments]]  # with where each field's JSON begins


@dataclass(frozen=True, slots=True)
class Field:
    """One root field: where its JSON begins, its arguments by the request's variables, its step."""

    head: bytes
    arguments: Callable[[VariableValues], Arguments]
    price: Callable[[Arguments, datetime], float]  # microseconds
    step: Step | None  # None where only the ordinary execution can read it


@dataclass(frozen=True, slots=True)
class Plan:
    """An operation with one request's variables: its steps with their arguments, and its cost."""

    steps: Steps | None  # None where it has no plan
    time: float  # that it takes at the most, in microseconds


@lru_cache(MAX_DOCUMENTS)
def compiled(query: str, operation_name: str | None) -> "Query | None":
    """None for anything but a query in a valid document of which it is clear which is meant."""
    document = valid(query)
    operation = None if document is None else get_operation_ast(document, operation_name)
    if document is None or operation is None or operation.operation is not OperationType.QUERY:
        return None
    return Query(document, operation)


class Query:
    """A valid document's operation, and its plans."""

    def __init__(self, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._document = document
        self._operation = operation
        self._name = operation.name.value if operation.name else None
        self._switches = _switches(document)
        self._variants: dict[tuple[object, ...], tuple[Field, ...]] = {}

    def plan(self, variables: Variables, now: datetime) -> Plan | None:
        """None where its variables are refused. Raises Refusal where it costs too much."""
        values = get_variable_values(_core, self._operation.variable_definitions or (), variables)
        if not isinstance(values, VariableValues):
            return None
        variant = tuple(values.coerced.get(name) for name in self._switches)
        fields = self._variants.get(variant)
        if fields is None:
            fields = self._compiled(variables)
            if len(self._variants) < MAX_VARIANTS:
                self._variants[variant] = fields
        try:
            given = [field.arguments(values) for field in fields]
        except GraphQLError:  # one field's fault, which the ordinary execution shows
            return None
        time = sum(map(_price, fields, given, repeat(now)))
        cost.require(time)
        steps = tuple(
            (field.head, field.step, arguments)
            for field, arguments in zip(fields, given, strict=True)
            if field.step is not None
        )
        return Plan(steps if len(steps) == len(fields) else None, time)

    def _compiled(self, variables: Variables) -> tuple[Field, ...]:
        executor = Executor.build(
            _core, self._document, raw_variable_values=variables, operation_name=self._name
        )
        assert isinstance(executor, Executor)
        found = collect_fields(
            _core, executor.fragments, executor.variable_values, _query, executor.operation
        ).grouped_field_set
        counter = cost.Counter(executor)
        return tuple(
            _field(executor, counter, key, details, first=not place)
            for place, (key, details) in enumerate(found.items())
        )


def _price(field: Field, arguments: Arguments, now: datetime) -> float:
    return field.price(arguments, now)


def _field(
    executor: Executor, counter: cost.Counter, key: str, details: Any, *, first: bool
) -> Field:
    """Raises GraphQLError for a wrong literal, and Refusal for too many fields."""
    node: FieldNode = details[0].node
    name = node.name.value
    head = f'{"" if first else ","}"{key}":'.encode()
    price = partial(cost.price, name, counter.values(_query, key, details))
    field = _query.fields.get(name)
    if field is None:
        return Field(head, lambda _: {}, price, _typename if name == "__typename" else None)
    try:
        step = step_of(_root(executor, field, details))
    except NotPlainError:
        step = None
    return Field(head, _arguments(field, node), price, step)


def _root(executor: Executor, field: GraphQLField, details: Any) -> Root:
    """Raises NotPlainError for what is delivered in parts."""
    return Root(
        details[0].node.name.value,
        field,
        selection(executor, field.type, details),
        partial(executor.shape, field.type, details),
    )


def _arguments(field: GraphQLField, node: FieldNode) -> Callable[[VariableValues], Arguments]:
    found = _VariableNames.of(node)
    if found:
        return partial(get_argument_values, field, node)
    constant = get_argument_values(field, node)
    return lambda _: constant


async def _typename(context: Context, arguments: Arguments, now: object) -> Read:
    return f'"{_query.name}"'.encode(), FOREVER


class _VariableNames(Visitor):
    """The variables that stand somewhere in a node."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.names.add(node.name.value)

    @classmethod
    def of(cls, node: Any) -> set[str]:
        visitor = cls()
        for argument in node.arguments or ():
            visit(argument, visitor)
        return visitor.names


class _Switches(_VariableNames):
    def enter_variable(self, node: VariableNode, *_: Any) -> None: ...

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        self.names |= _VariableNames.of(node)


def _switches(document: DocumentNode) -> tuple[str, ...]:
    """The variables of @skip and @include."""
    visitor = _Switches()
    visit(document, visitor)
    return tuple(sorted(visitor.names))
