"""What a document may cost: the fields that its answer can hold, counted before it is executed.

One answer is made on the loop that also feeds the subscribers, so none may take it for long.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    get_operation_ast,
)
from strawberry.extensions import SchemaExtension

from quotes.api import pagination
from quotes.api.errors import Code, Refusal
from quotes.api.history import candles, gaps

MAX_COST = 150_000  # fields, some 7 us each; a largest page with every field is 130,000

# How many rows a field of `Query` answers with, by the argument that says so; and without it.
_ROWS = {
    "prices": (("first", "last"), pagination.DEFAULT_SIZE),
    "gaps": (("first",), gaps.USUAL),
    "candles": ((), candles.MOST),
    "latestPrices": ((), 300),
    "tickers": ((), 300),
}


class Cost(SchemaExtension):
    """Refuses an operation that would cost too much. Stands after validation's own extension."""

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        if not context.pre_execution_errors and context.graphql_document is not None:
            cost = of(context.graphql_document, context.operation_name, context.variables or {})
            if cost > MAX_COST:
                context.pre_execution_errors = [_refusal(cost)]
        yield


def _refusal(cost: int) -> Refusal:
    return Refusal(
        Code.BAD_INPUT,
        f"The answer could hold {cost:,} fields, and {MAX_COST:,} is the most. Ask for smaller "
        "pages (`first`), for fewer fields, or in several requests.",
    )


def of(document: DocumentNode, operation_name: str | None, variables: Mapping[str, Any]) -> int:
    """The fields that the answer to a valid document can hold, at the most."""
    fragments = {
        each.name.value: each.selection_set
        for each in document.definitions
        if isinstance(each, FragmentDefinitionNode)
    }

    @cache  # once for each fragment, however often it is spread: little text can spread much
    def of_fragment(name: str) -> int:
        return of_all(fragments[name])

    def of_all(selections: SelectionSetNode | None) -> int:
        return sum(map(of_one, selections.selections)) if selections else 0

    def of_one(selection: SelectionNode) -> int:
        match selection:
            case FieldNode():
                return 1 + _rows(selection, variables) * of_all(selection.selection_set)
            case FragmentSpreadNode():
                return of_fragment(selection.name.value)
            case InlineFragmentNode():
                return of_all(selection.selection_set)
        raise TypeError(selection)

    operation = get_operation_ast(document, operation_name)
    return 0 if operation is None else of_all(operation.selection_set)


def _rows(field: FieldNode, variables: Mapping[str, Any]) -> int:
    """How many rows a field can hold; 1 for one that is no list of rows."""
    arguments, usual = _ROWS.get(field.name.value, ((), 1))
    for argument in field.arguments or ():
        if argument.name.value in arguments:
            value = argument.value
            if isinstance(value, VariableNode):
                number = variables.get(value.name.value)
            else:
                number = int(value.value) if isinstance(value, IntValueNode) else None
            if isinstance(number, int):
                return max(number, 0)
    return usual
