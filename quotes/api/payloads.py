"""What subscribers select of a quote: executed and encoded once for all who select the same."""

import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast
from weakref import WeakValueDictionary

from graphql import (
    ArgumentNode,
    DocumentNode,
    GraphQLError,
    GraphQLObjectType,
    OperationType,
    VariableNode,
    get_argument_values,
    get_operation_ast,
    located_error,
    parse,
    validate,
)
from graphql.execution.collect_fields import FieldDetails, collect_fields
from graphql.execution.executor import Executor as CoreExecutor

from quotes.api import types
from quotes.api.context import Context
from quotes.api.document_limits import MAX_TOKENS
from quotes.api.errors import Refusal
from quotes.api.execution import Executor, NotPlainError, Shape
from quotes.api.scalars import Ticker
from quotes.api.schema import schema, updates
from quotes.database import models

MAX_DOCUMENTS = 128  # parsed and validated ones kept; of MAX_TOKENS each, some 50 MB at the worst
MAX_PAYLOADS = 4_096  # encoded quotes kept for the next subscriber, of all selections together
FRESH = 1.0  # seconds; an older payload would tell a wrong ageSeconds

SHARED_FIELD = "priceUpdates"
_core = schema._schema  # noqa: SLF001  # graphql-core's own schema has no public name
_root = cast("GraphQLObjectType", _core.subscription_type)
_field = _root.fields[SHARED_FIELD]


class Selection:
    """One document with its variables, as far as they say what is shown of a quote."""

    def __init__(self, name: str, shape: Shape) -> None:
        self._name = name
        self._shape = shape

    def shown(self, quote: models.Quote) -> str:
        """The payload of a `next` message, as JSON."""
        shown = self._shape(types.Quote.of(quote, datetime.now(UTC)))
        return json.dumps({"data": {self._name: shown}}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Updates:
    """One subscriber's `priceUpdates`: what it shares with others, and where it begins."""

    selection: Selection
    field: FieldDetails
    name: str
    tickers: list[Ticker] | None
    after: str | None
    min_interval: int | None

    def quotes(
        self, context: Context, resume: str | None = None
    ) -> AsyncGenerator[models.Quote, None]:
        """As `schema.updates`; `resume` is a cursor that goes before the document's own `after`."""
        return updates(context, self.tickers, resume or self.after, self.min_interval)

    def told(self, refusal: Refusal) -> dict[str, Any]:
        """The refusal as a client reads it, with its place in the document."""
        return dict(located_error(refusal, [self.field.node], [self.name]).formatted)


class Selections:
    """Those in use, each kept as long as a subscriber holds it, and their last payloads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._used: WeakValueDictionary[tuple[str, str | None, str], Selection] = (
            WeakValueDictionary()
        )
        self._payloads: dict[tuple[Selection, int], tuple[float, str]] = {}

    def read(
        self, query: str, operation_name: str | None, variables: dict[str, Any] | None
    ) -> Updates | None:
        """None where this is anything but a valid subscription to `priceUpdates` of plain fields.

        The ordinary execution answers that, be it with data or with what is wrong.
        """
        document = valid(query)
        if document is None or not subscribes(document, operation_name):
            return None
        executor = Executor.build(
            _core, document, raw_variable_values=variables, operation_name=operation_name
        )
        if not isinstance(executor, Executor):  # the variables' faults
            return None
        name, fields = next(iter(_root_fields(executor).items()))
        field = fields[0]
        if field.node.name.value != SHARED_FIELD:
            return None
        try:
            arguments = get_argument_values(_field, field.node, executor.variable_values)
            shape = executor.shape(_field.type, fields)
        except (GraphQLError, NotPlainError):
            return None
        key = (query, operation_name, _telling(query, field, variables or {}))
        return Updates(
            selection=self._used.setdefault(key, Selection(name, shape)),
            field=field,
            name=name,
            tickers=arguments.get("tickers"),
            after=arguments.get("after"),
            min_interval=arguments.get("minInterval"),
        )

    def payload(self, selection: Selection, quote: models.Quote) -> str:
        """As `selection.shown`, made once a second at the most."""
        key = (selection, quote.seq)
        now = self.clock()
        made, payload = self._payloads.get(key, (0.0, ""))
        if now - made > FRESH:
            payload = selection.shown(quote)
            self._payloads.pop(key, None)
            self._payloads[key] = (now, payload)
            if len(self._payloads) > MAX_PAYLOADS:
                del self._payloads[next(iter(self._payloads))]
        return payload


@lru_cache(MAX_DOCUMENTS)
def valid(query: str) -> DocumentNode | None:
    """The document, parsed; None where it is not one of this schema."""
    try:
        document = parse(query, max_tokens=MAX_TOKENS)
    except (GraphQLError, RecursionError):
        return None
    return None if validate(_core, document) else document


def subscribes(document: DocumentNode, operation_name: str | None) -> bool:
    """Whether the operation of that name, or the only one, is a subscription."""
    operation = get_operation_ast(document, operation_name)
    return operation is not None and operation.operation is OperationType.SUBSCRIPTION


def _root_fields(executor: CoreExecutor[Any]) -> dict[str, list[FieldDetails]]:
    return collect_fields(
        _core, executor.fragments, executor.variable_values, _root, executor.operation
    ).grouped_field_set


def _telling(query: str, field: FieldDetails, variables: Mapping[str, Any]) -> str:
    """The variables that say what is shown: all but the one that only says where to begin."""
    after = _variable_of(field.node.arguments or ())
    if after is not None and len(re.findall(rf"\${after}\b", query)) == 2:  # noqa: PLR2004
        variables = {name: value for name, value in variables.items() if name != after}
    return json.dumps(variables, sort_keys=True)


def _variable_of(arguments: Iterable[ArgumentNode]) -> str | None:
    for argument in arguments:
        if argument.name.value == "after" and isinstance(argument.value, VariableNode):
            return argument.value.name.value
    return None
