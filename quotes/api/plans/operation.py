"""Operations, compiled once: each root field with its selection, its arguments and its cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

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
    VariableValues,
    Visitor,
    get_argument_values,
    get_operation_ast,
    get_variable_values,
    visit,
)

from quotes.api import cost
from quotes.api.cost import Price
from quotes.api.documents import MAX_ERRORS
from quotes.api.execution import Execution, Places, name_of, nodes_of
from quotes.api.plans.documents import core, valid
from quotes.api.plans.selection import NotPlainError, Selection, selection
from quotes.api.selected_values import Counter

MAX_VARIANTS = 16  # of one operation, by what its @skip and @include leave

Arguments = cost.Arguments
Variables = dict[str, Any]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Root:
    """A root field as an operation selects it."""

    key: str  # its alias, or its name
    name: str
    nodes: tuple[FieldNode, ...]
    field: GraphQLField | None  # None for one of the introspection's own
    selection: Selection | None

    def of_the_moment(self) -> bool:
        return self.selection is not None and self.selection.of_the_moment()


@dataclass(frozen=True, slots=True)
class Compiled(Generic[Made]):
    """A root field, and what is made of it, which differs by the kind of the operation."""

    root: Root
    made: Made | None  # None where it needs the ordinary execution
    arguments: Callable[[VariableValues], Arguments]
    price: Callable[[Arguments, datetime], Price]


class Field(NamedTuple, Generic[Made]):
    """A root field with one request's arguments; an error where they are wrong."""

    compiled: Compiled[Made]
    arguments: Arguments | GraphQLError
    price: Price


class Given(NamedTuple, Generic[Made]):
    """An operation with one request's variables."""

    fields: Sequence[Field[Made]]
    points: int  # that it costs at the most


class Operation(Generic[Made]):
    """A valid document's operation. `make` raises NotPlainError."""

    def __init__(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        make: Callable[[Root], Made],
    ) -> None:
        self._document = document
        self._operation = operation
        self._name = operation.name.value if operation.name else None
        self._make = make
        self._switches = _switches(document)
        self._variants: dict[tuple[object, ...], tuple[Compiled[Made], ...]] = {}

    @classmethod
    def of(
        cls, query: str, name: str | None, kind: OperationType, make: Callable[[Root], Made]
    ) -> "Operation[Made] | None":
        """None for another kind, an invalid document, and where it is not clear which is meant."""
        document = valid(query)
        operation = None if document is None else get_operation_ast(document, name)
        if document is None or operation is None or operation.operation is not kind:
            return None
        return cls(document, operation, make)

    def given(self, variables: Variables, now: datetime) -> Given[Made] | None:
        """None where its variables are refused. Raises RefusedError where it costs too much."""
        definitions = self._operation.variable_definitions or ()
        values = get_variable_values(core, definitions, variables, max_errors=MAX_ERRORS)
        if not isinstance(values, VariableValues):
            return None
        variant = tuple(values.coerced.get(name) for name in self._switches)
        compiled = self._variants.get(variant)
        if compiled is None:
            compiled = self._compiled(variables)
            if len(self._variants) < MAX_VARIANTS:
                self._variants[variant] = compiled
        fields = [_field(each, values, now) for each in compiled]
        return Given(fields, cost.required([each.price for each in fields]))

    def _compiled(self, variables: Variables) -> tuple[Compiled[Made], ...]:
        execution = Execution.of(core, self._document, variables, self._name)
        kind = core.get_root_type(self._operation.operation)
        assert kind is not None
        counter = Counter(execution)
        return tuple(
            self._root(execution, counter, kind, key, places)
            for key, places in execution.root_fields(kind).items()
        )

    def _root(
        self,
        execution: Execution,
        counter: Counter,
        kind: GraphQLObjectType,
        key: str,
        places: Places,
    ) -> Compiled[Made]:
        """Raises GraphQLError for a wrong literal, and RefusedError for too many fields."""
        nodes, name = nodes_of(places), name_of(places)
        price = partial(cost.price, name, counter.values(kind, key, places))
        field = kind.fields.get(name)
        try:
            selected = None if field is None else selection(execution, field.type, places)
            root = Root(key, name, nodes, field, selected)
            made = self._make(root)
        except NotPlainError:
            root, made = Root(key, name, nodes, field, None), None
        return Compiled(root, made, _arguments(field, nodes[0]), price)


def _field(compiled: Compiled[Made], values: VariableValues, now: datetime) -> Field[Made]:
    try:
        arguments = compiled.arguments(values)
    except GraphQLError as error:
        return Field(compiled, error, cost.NOTHING)
    return Field(compiled, arguments, compiled.price(arguments, now))


def _arguments(
    field: GraphQLField | None, node: FieldNode
) -> Callable[[VariableValues], Arguments]:
    if field is None:
        return lambda _: {}
    if _VariableNames.of(node):
        return partial(get_argument_values, field, node)
    constant = get_argument_values(field, node)
    return lambda _: constant


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
