"""What each valid query is compiled into: for each root field a step that reads it."""

from datetime import datetime
from functools import lru_cache

from graphql import OperationType

from quotes.api.documents import MAX_DOCUMENTS
from quotes.api.errors import bad_input
from quotes.api.plans.operation import Given, Operation, Variables
from quotes.api.plans.steps import Step, step_of

Plan = Given[Step]


def plan(
    query: str, operation_name: str | None, variables: Variables, now: datetime
) -> Plan | None:
    """None for what is no valid query. Raises RefusedError where it costs too much."""
    operation = _operation(query, operation_name)
    return None if operation is None else operation.given(variables, now)


def of_the_schema(plan: Plan) -> bool:
    """Whether it queries the schema itself. Raises RefusedError for one that queries more."""
    if all(field.compiled.made is not None for field in plan.fields):
        return False
    roots = [(field.compiled.root.name, field.compiled.made) for field in plan.fields]
    if any(made is not None and name != "__typename" for name, made in roots):
        raise bad_input("Query the schema in a request of its own, without quotes.")
    return True


@lru_cache(MAX_DOCUMENTS)
def _operation(query: str, operation_name: str | None) -> Operation[Step] | None:
    return Operation.of(query, operation_name, OperationType.QUERY, step_of)
