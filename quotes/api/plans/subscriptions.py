"""What subscribers select: compiled once, and encoded once for all who select the same."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from graphql import FieldNode, GraphQLError, OperationType, located_error

from quotes.api import cursors, types
from quotes.api.documents import MAX_DOCUMENTS
from quotes.api.history import candle_updates
from quotes.api.plans.operation import Arguments, Operation, Root, Variables
from quotes.api.plans.selection import NotPlainError, Selection
from quotes.api.plans.shapes import Shape, shape_of
from quotes.database import models
from quotes.database.collected import Collected
from quotes.live.candle_log import CandleEvent

MAX_PAYLOADS = 4_096  # encoded quotes cached for the next subscriber, of all selections together
FRESH = 1.0  # seconds; an older payload would show a wrong ageSeconds

# What a connection writes around a payload, from the payload and its cursor if it has one.
Envelope = Callable[[bytes, str | None], bytes]


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of each event. Equal ones show the same, whichever documents they are of."""

    key: str
    selection: Selection
    shape: Shape = field(compare=False)

    @classmethod
    def of(cls, root: Root) -> "Shown":
        """Raises NotPlainError."""
        if root.field is None or root.selection is None:
            raise NotPlainError
        return cls(root.key, root.selection, shape_of(root.field.type, root.selection))

    def payload(self, value: object) -> bytes:
        """The payload of a `next` message, as JSON, of one of the schema's objects."""
        data = {"data": {self.key: self.shape(value)}}
        return json.dumps(data, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Shared:
    """One operation's subscription, whose payloads are shared with others."""

    shown: Shown
    nodes: tuple[FieldNode, ...]
    field: str
    arguments: Arguments
    points: int  # that it costs

    def error(self, error: GraphQLError) -> dict[str, Any]:
        """The error as a client reads it, with its place in the document."""
        return dict(located_error(error, list(self.nodes), [self.shown.key]).formatted)


def shared(query: str, operation_name: str | None, variables: Variables | None) -> Shared | None:
    """None where this is anything but a valid subscription that selects plain fields.

    The ordinary execution answers that, be it with data or with what is wrong. Raises RefusedError
    for one that costs too much.
    """
    operation = _operation(query, operation_name)
    given = None if operation is None else operation.given(variables or {}, datetime.now(UTC))
    if given is None or not given.fields:  # the only one may be skipped by a directive
        return None
    (field,) = given.fields
    root, shown = field.compiled.root, field.compiled.made
    if shown is None or isinstance(field.arguments, GraphQLError):
        return None
    return Shared(shown, root.nodes, root.name, field.arguments, given.points)


@lru_cache(MAX_DOCUMENTS)
def _operation(query: str, operation_name: str | None) -> Operation[Shown] | None:
    return Operation.of(query, operation_name, OperationType.SUBSCRIPTION, Shown.of)


class Payloads:
    """The last payloads."""

    def __init__(self, collection: Collected, clock: Callable[[], float] = time.monotonic) -> None:
        self._collection = collection
        self.clock = clock
        self._payloads: dict[tuple[Shown, int], tuple[float, bytes]] = {}

    def of_quote(self, shown: Shown, quote: models.Quote) -> bytes:
        """A quote's payload, encoded once a second at the most."""
        key = (shown, quote.seq)
        now = self.clock()
        made, payload = self._payloads.get(key, (0.0, b""))
        if now - made > FRESH:
            payload = shown.payload(types.Quote.of(quote, datetime.now(UTC), self._collection))
            self._payloads.pop(key, None)
            self._payloads[key] = (now, payload)
            if len(self._payloads) > MAX_PAYLOADS:
                del self._payloads[next(iter(self._payloads))]
        return payload


@dataclass(frozen=True, slots=True)
class QuoteMessages:
    """A quote as it is written to all connections of one kind that select the same."""

    payloads: Payloads
    shown: Shown
    envelope: Envelope

    def __call__(self, quote: models.Quote) -> bytes:
        payload = self.payloads.of_quote(self.shown, quote)
        return self.envelope(payload, cursors.stream(quote))


@dataclass(frozen=True, slots=True)
class CandleMessages:
    """As `QuoteMessages`, of a candle."""

    shown: Shown
    envelope: Envelope

    def __call__(self, event: CandleEvent) -> bytes:
        payload = self.shown.payload(candle_updates.shown(event.candle))
        return self.envelope(payload, None)
