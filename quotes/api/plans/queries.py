"""What each valid document is compiled into: for each root field a step that reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
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


@dataclass(frozen=True, slots=True)
class Field:
    """One root field: where its JSON begins, its arguments by the request's variables, its step."""

    head: bytes
    arguments: Callable[[VariableValues], Arguments]
    step: Step


@dataclass(frozen=True, slots=True)
class Plan:
    """An operation with one request's variables."""

    fields: tuple[Field, ...]
    variables: VariableValues


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
        self._plans: dict[tuple[object, ...], tuple[Field, ...] | None] = {}

    def plan(self, variables: Variables) -> Plan | None:
        """None where it is refused, or has more than plans can read."""
        values = get_variable_values(_core, self._operation.variable_definitions or (), variables)
        if not isinstance(values, VariableValues):
            return None
        if cost.of(self._document, self._name, variables) > cost.MAX_COST:
            return None
        variant = tuple(values.coerced.get(name) for name in self._switches)
        if variant not in self._plans and len(self._plans) < MAX_VARIANTS:
            self._plans[variant] = self._compiled(variables)
        fields = self._plans.get(variant)
        return None if fields is None else Plan(fields, values)

    def _compiled(self, variables: Variables) -> tuple[Field, ...] | None:
        executor = Executor.build(
            _core, self._document, raw_variable_values=variables, operation_name=self._name
        )
        assert isinstance(executor, Executor)
        found = collect_fields(
            _core, executor.fragments, executor.variable_values, _query, executor.operation
        )
        try:
            if found.new_defer_usages:
                return None
            return tuple(
                _field(executor, key, details, first=not place)
                for place, (key, details) in enumerate(found.grouped_field_set.items())
            )
        except (GraphQLError, NotPlainError):
            return None


def _field(executor: Executor, key: str, details: Any, *, first: bool) -> Field:
    """Raises NotPlainError for what has no plan, GraphQLError for a wrong literal."""
    node: FieldNode = details[0].node
    head = f'{"" if first else ","}"{key}":'.encode()
    if node.name.value == "__typename":
        return Field(head, lambda _: {}, _typename)
    field = _query.fields.get(node.name.value)
    if field is None:
        raise NotPlainError
    selected = selection(executor, field.type, details)
    step = step_of(
        Root(node.name.value, field, selected, partial(executor.shape, field.type, details))
    )
    return Field(head, _arguments(field, node), step)


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
