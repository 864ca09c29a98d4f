"""The root fields of a query, by which queries are counted."""

from collections.abc import Iterator
from functools import lru_cache

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionSetNode,
    get_operation_ast,
)

from quotes.api.documents import MAX_DOCUMENTS, known
from quotes.api.plans.documents import core, valid

INVALID = ("invalid",)  # what is no valid document, or does not say which operation is meant
INTROSPECTION = "introspection"


def root_fields(query: str, operation_name: str | None) -> tuple[str, ...]:
    """Their names, each once, in order: as few as the schema has. Checks no document anew."""
    found = known(core, query)
    if found is None or found.valid is None:
        return INVALID
    return _of_operation(query, operation_name)


@lru_cache(MAX_DOCUMENTS)
def _of_operation(query: str, operation_name: str | None) -> tuple[str, ...]:
    document = valid(query)
    operation = None if document is None else get_operation_ast(document, operation_name)
    if document is None or operation is None:
        return INVALID
    return tuple(sorted(set(_names(document, operation.selection_set))))


def _names(document: DocumentNode, selection: SelectionSetNode) -> Iterator[str]:
    fragments = {
        each.name.value: each.selection_set
        for each in document.definitions
        if isinstance(each, FragmentDefinitionNode)
    }
    remaining = [selection]
    while remaining:
        for node in remaining.pop().selections:
            if isinstance(node, FieldNode):
                name = node.name.value
                yield INTROSPECTION if name.startswith("__") else name
            elif isinstance(node, FragmentSpreadNode):
                remaining += (
                    [fragments.pop(node.name.value)] if node.name.value in fragments else []
                )
            elif isinstance(node, InlineFragmentNode):
                remaining.append(node.selection_set)
