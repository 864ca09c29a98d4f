"""What is asked of a document before anything of it is executed; its cost is in `cost`."""

from collections.abc import Iterator
from contextlib import suppress

from graphql import GraphQLError, OperationDefinitionNode
from strawberry.extensions import MaxTokensLimiter, ParserCache, SchemaExtension

from quotes.api.errors import bad_input

MAX_TOKENS = 1_000  # of one document; the explorer's own introspection takes some 350


class Limits(MaxTokensLimiter):
    """Bounds a document before it is parsed."""

    def __init__(self) -> None:
        super().__init__(max_token_count=MAX_TOKENS)


class Parsed(ParserCache):
    """Parses a document once; one that cannot be is left to the usual way, which says why."""

    def on_parse(self) -> Iterator[None]:
        with suppress(GraphQLError, RecursionError):
            next(super().on_parse())
        yield


class Named(SchemaExtension):
    """Refuses several operations without a word which is meant; Strawberry would take the first."""

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        if context.graphql_document and not context.pre_execution_errors:
            kinds = map(type, context.graphql_document.definitions)
            several = sum(kind is OperationDefinitionNode for kind in kinds) > 1
            if several and context._provided_operation_name is None:  # noqa: SLF001  # the property takes the first's
                context.pre_execution_errors = [
                    bad_input("There are several operations; say by `operationName` which to run.")
                ]
        yield
