"""What each valid query is compiled into: for each root field a step that reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from graphql import OperationType

from quotes.api.documents import MAX_DOCUMENTS
from quotes.api.plans.operation import Arguments, Operation, Variables
from quotes.api.plans.steps import Step, step_of

Steps = Sequence[tuple[str, Step, Arguments]]  # with the field's name in the answer


@dataclass(frozen=True, slots=True)
class Plan:
    """A query with one request's variables: its steps with their arguments, and its cost."""

    steps: Steps | None  # None where it needs the ordinary execution
    time: float  # that it takes at the most, in microseconds


def plan(
    query: str, operation_name: str | None, variables: Variables, now: datetime
) -> Plan | None:
    """None for what is no valid query. Raises RefusedError where it costs too much."""
    operation = _operation(query, operation_name)
    given = None if operation is None else operation.given(variables, now)
    if given is None:
        return None
    steps = [
        (field.root.key, field.made, arguments)
        for field, arguments in given.fields
        if field.made is not None
    ]
    return Plan(steps if len(steps) == len(given.fields) else None, given.time)


@lru_cache(MAX_DOCUMENTS)
def _operation(query: str, operation_name: str | None) -> Operation[Step] | None:
    return Operation.of(query, operation_name, OperationType.QUERY, step_of)
