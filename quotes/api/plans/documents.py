"""Documents: parsed and validated once, however often they are sent."""

from functools import lru_cache

from graphql import DocumentNode, GraphQLError, OperationType, get_operation_ast, parse, validate

from quotes.api.document_limits import MAX_TOKENS
from quotes.api.schema import schema

MAX_DOCUMENTS = 128  # kept; of MAX_TOKENS each, some 50 MB at the worst

core = schema._schema  # noqa: SLF001  # graphql-core's own schema has no public name


@lru_cache(MAX_DOCUMENTS)
def valid(query: str) -> DocumentNode | None:
    """The document, parsed; None where it is not one of this schema."""
    try:
        document = parse(query, max_tokens=MAX_TOKENS)
    except (GraphQLError, RecursionError):
        return None
    return None if validate(core, document) else document


def subscribes(document: DocumentNode, operation_name: str | None) -> bool:
    """Whether the operation of that name, or the only one, is a subscription."""
    operation = get_operation_ast(document, operation_name)
    return operation is not None and operation.operation is OperationType.SUBSCRIPTION
