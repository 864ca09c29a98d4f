"""Documents, parsed and validated once however often they are sent, and their limits.

What they may cost is in `cost`. A document's place in the cache is shared by plans and the ordinary
execution.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    TokenKind,
    parse,
    specified_rules,
    validate,
)
from strawberry.extensions import MaxTokensLimiter, SchemaExtension

from quotes.api.errors import bad_input
from quotes.api.execution import core_of, names_its_operation
from quotes.api.mergeable_fields import MergeableFields

MAX_DOCUMENTS = 128  # cached; of MAX_TOKENS each, some 50 MB at the worst
MAX_LENGTH = 32 * 1024  # characters
MAX_TOKENS = 1_000  # the explorer's own introspection takes some 350
MAX_DIRECTIVES = 50
MAX_ERRORS = 5  # that are listed; one more says that there are others

_RULES = [
    MergeableFields if rule is OverlappingFieldsCanBeMergedRule else rule
    for rule in specified_rules
]


class Document(NamedTuple):
    """A document as it was sent once."""

    parsed: DocumentNode | None  # None where it cannot be, or is beyond the limits
    errors: Sequence[GraphQLError]

    @property
    def valid(self) -> DocumentNode | None:
        return None if self.errors else self.parsed


_cached: OrderedDict[tuple[GraphQLSchema, str], Document] = (
    OrderedDict()
)  # the last used at the end


def document(schema: GraphQLSchema, query: str) -> Document:
    """From the cache, or checked now."""
    return known(schema, query) or store(schema, query, check(schema, query))


def known(schema: GraphQLSchema, query: str) -> Document | None:
    """From the cache."""
    found = _cached.pop((schema, query), None)
    if found is not None:
        _cached[schema, query] = found
    return found


def store(schema: GraphQLSchema, query: str, checked: Document) -> Document:
    """Cache it."""
    _cached[schema, query] = checked
    while len(_cached) > MAX_DOCUMENTS:
        _cached.popitem(last=False)
    return checked


def check(schema: GraphQLSchema, query: str) -> Document:
    """Parse and validate, which takes up to a tenth of a second: 0.1 ms for each token."""
    try:
        if len(query) > MAX_LENGTH:
            raise bad_input(f"A document has at most {MAX_LENGTH:,} characters.")
        parsed = parse(query, max_tokens=MAX_TOKENS)
        if _directives(parsed) > MAX_DIRECTIVES:
            raise bad_input(f"A document has at most {MAX_DIRECTIVES} directives.")
    except GraphQLError as error:
        return Document(None, [error.with_traceback(None)])
    except RecursionError:
        return Document(None, [bad_input("The document is nested too deeply.")])
    return Document(parsed, validate(schema, parsed, _RULES, max_errors=MAX_ERRORS))


def _directives(parsed: DocumentNode) -> int:
    number, token = 0, parsed.loc.start_token if parsed.loc else None
    while token:
        number += token.kind is TokenKind.AT
        token = token.next
    return number


class Limits(MaxTokensLimiter):
    """Bounds a document whose errors the ordinary way gives."""

    def __init__(self) -> None:
        super().__init__(max_token_count=MAX_TOKENS)


class Checked(SchemaExtension):
    """Takes documents from the cache; one that cannot be parsed is left to the usual way."""

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        if context.query:
            found = document(core_of(context.schema), context.query)
            context.graphql_document = found.parsed
        yield

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        if context.query and not context.pre_execution_errors:
            found = document(core_of(context.schema), context.query)
            context.pre_execution_errors = list(found.errors)
        yield


class Named(SchemaExtension):
    """Refuses several operations without a word which is meant; Strawberry would take the first."""

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        if context.graphql_document and not context.pre_execution_errors:
            kinds = map(type, context.graphql_document.definitions)
            several = sum(kind is OperationDefinitionNode for kind in kinds) > 1
            if several and not names_its_operation(context):
                context.pre_execution_errors = [
                    bad_input("There are several operations; say by `operationName` which to run.")
                ]
        yield
