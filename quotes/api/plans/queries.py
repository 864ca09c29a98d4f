"""What each valid query is compiled into: for each root field a step that reads it."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from graphql import OperationType

from quotes.api.documents import MAX_DOCUMENTS
from quotes.api.errors import bad_input
from quotes.api.plans.operation import Field, Operation, Variables
from quotes.api.plans.steps import Step, step_of

Plan = Sequence[Field[Step]]


def plan(
    query: str, operation_name: str | None, variables: Variables, now: datetime
) -> Plan | None:
    """None for what is no valid query. Raises RefusedError where it costs too much."""
    operation = _operation(query, operation_name)
    return None if operation is None else operation.fields(variables, now)


def of_the_schema(plan: Plan) -> bool:
    """Whether it queries the schema itself. Raises RefusedError for one that queries more."""
    names = [each.compiled.root.name for each in plan if each.compiled.made is None]
    if names and len(names) + _type_names(plan) < len(plan):
        raise bad_input(f"Query `{names[0]}` in a request of its own, without quotes.")
    return bool(names)


def _type_names(plan: Plan) -> int:
    return sum(each.compiled.root.name == "__typename" for each in plan)


@lru_cache(MAX_DOCUMENTS)
def _operation(query: str, operation_name: str | None) -> Operation[Step] | None:
    return Operation.of(query, operation_name, OperationType.QUERY, step_of)
