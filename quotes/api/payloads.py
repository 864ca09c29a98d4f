"""What subscribers select: executed and encoded once for all who select the same."""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
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

from quotes.api import cost, cursors, types
from quotes.api.document_limits import MAX_TOKENS
from quotes.api.execution import Executor, NotPlainError, Shape
from quotes.api.history import candle_updates
from quotes.api.schema import schema
from quotes.database import models
from quotes.live.candle_log import CandleEvent

MAX_DOCUMENTS = 128  # parsed and validated ones kept; of MAX_TOKENS each, some 50 MB at the worst
MAX_PAYLOADS = 4_096  # encoded quotes kept for the next subscriber, of all selections together
FRESH = 1.0  # seconds; an older payload would show a wrong ageSeconds

_core = schema._schema  # noqa: SLF001  # graphql-core's own schema has no public name
_root = cast("GraphQLObjectType", _core.subscription_type)

# What a connection writes around a payload, from the payload and its cursor if it has one.
Envelope = Callable[[bytes, str | None], bytes]


class Selection:
    """One document with its variables, as far as they decide what is shown of an event."""

    def __init__(self, name: str, shape: Shape) -> None:
        self._name = name
        self._shape = shape

    def payload(self, value: object) -> bytes:
        """The payload of a `next` message, as JSON, of one of the schema's objects."""
        data = {"data": {self._name: self._shape(value)}}
        return json.dumps(data, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Shared:
    """One operation's subscription, whose payloads are shared with others."""

    selection: Selection
    details: FieldDetails
    name: str
    field: str
    arguments: dict[str, Any]

    def error(self, error: GraphQLError) -> dict[str, Any]:
        """The error as a client reads it, with its place in the document."""
        return dict(located_error(error, [self.details.node], [self.name]).formatted)


class Payloads:
    """The selections in use, each as long as a subscriber holds it, and their last payloads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._used: WeakValueDictionary[tuple[str, str | None, str], Selection] = (
            WeakValueDictionary()
        )
        self._payloads: dict[tuple[Selection, int], tuple[float, bytes]] = {}

    def shared(
        self, query: str, operation_name: str | None, variables: dict[str, Any] | None
    ) -> Shared | None:
        """None where this is anything but a valid subscription that selects plain fields.

        The ordinary execution answers that, be it with data or with what is wrong. Raises Refusal
        for one that costs too much.
        """
        document = valid(query)
        if document is None or not subscribes(document, operation_name):
            return None
        executor = Executor.build(
            _core, document, raw_variable_values=variables, operation_name=operation_name
        )
        if not isinstance(executor, Executor):  # the variables' faults
            return None
        fields = _root_fields(executor)
        if len(fields) != 1:  # the only one may be skipped by a directive
            return None
        cost.require(cost.of(executor, _root, fields, datetime.now(UTC)))
        ((name, details),) = fields.items()
        node = details[0].node
        definition = _root.fields[node.name.value]
        try:
            arguments = get_argument_values(definition, node, executor.variable_values)
            shape = executor.shape(definition.type, details)
        except (GraphQLError, NotPlainError):
            return None
        key = (query, operation_name, _deciding(query, details[0], variables or {}))
        selection = self._used.setdefault(key, Selection(name, shape))
        return Shared(selection, details[0], name, node.name.value, arguments)

    def of_quote(self, selection: Selection, quote: models.Quote) -> bytes:
        """A quote's payload, encoded once a second at the most."""
        key = (selection, quote.seq)
        now = self.clock()
        made, payload = self._payloads.get(key, (0.0, b""))
        if now - made > FRESH:
            payload = selection.payload(types.Quote.of(quote, datetime.now(UTC)))
            self._payloads.pop(key, None)
            self._payloads[key] = (now, payload)
            if len(self._payloads) > MAX_PAYLOADS:
                del self._payloads[next(iter(self._payloads))]
        return payload


@dataclass(frozen=True, slots=True)
class QuoteMessages:
    """A quote as it is written to all connections of one kind that select the same."""

    payloads: Payloads
    selection: Selection
    envelope: Envelope

    def __call__(self, quote: models.Quote) -> bytes:
        payload = self.payloads.of_quote(self.selection, quote)
        return self.envelope(payload, cursors.stream(quote))


@dataclass(frozen=True, slots=True)
class CandleMessages:
    """As `QuoteMessages`, of a candle."""

    selection: Selection
    envelope: Envelope

    def __call__(self, event: CandleEvent) -> bytes:
        payload = self.selection.payload(candle_updates.shown(event.candle))
        return self.envelope(payload, None)


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


def _deciding(query: str, field: FieldDetails, variables: Mapping[str, Any]) -> str:
    """The variables that decide what is shown: all but the one that only says where to begin."""
    after = _variable_of(field.node.arguments or ())
    if after is not None and len(re.findall(rf"\${after}\b", query)) == 2:  # noqa: PLR2004
        variables = {name: value for name, value in variables.items() if name != after}
    return json.dumps(variables, sort_keys=True)


def _variable_of(arguments: Iterable[ArgumentNode]) -> str | None:
    for argument in arguments:
        if argument.name.value == "after" and isinstance(argument.value, VariableNode):
            return argument.value.name.value
    return None
