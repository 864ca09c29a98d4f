"""The documents that are valid for this schema."""

from graphql import DocumentNode, OperationType, get_operation_ast

from quotes.api.documents import document
from quotes.api.execution import core_of
from quotes.api.schema import schema

core = core_of(schema)


def valid(query: str) -> DocumentNode | None:
    """The document, parsed; None where it is not one of this schema."""
    return document(core, query).valid


def subscribes(document: DocumentNode, operation_name: str | None) -> bool:
    """Whether the operation of that name, or the only one, is a subscription."""
    operation = get_operation_ast(document, operation_name)
    return operation is not None and operation.operation is OperationType.SUBSCRIPTION
