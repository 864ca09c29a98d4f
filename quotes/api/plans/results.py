"""A query's fields, read one after another, and the response that they make."""

import asyncio
import json
from datetime import datetime
from typing import Any

from graphql import GraphQLError, GraphQLNonNull, located_error

from quotes.api import cost
from quotes.api.context import Context
from quotes.api.errors import client_error
from quotes.api.plans.answers import Answer
from quotes.api.plans.operation import Field
from quotes.api.plans.queries import Plan
from quotes.api.plans.scope import ONCE
from quotes.api.plans.steps import Read, Step


async def result(plan: Plan, context: Context, now: datetime) -> Answer:
    """With the errors of fields that fail. An error of one that may not be null leaves no data."""
    parts: list[bytes] = []
    errors: list[dict[str, Any]] = []
    scopes, time, failed = [], 0.0, False
    for place, field in enumerate(plan.fields):  # in turn: it holds one connection at a time
        if place:
            await asyncio.sleep(0)  # what is in memory is read without any other wait
        key, definition = field.compiled.root.key, field.compiled.root.field
        try:
            found = await _read(field, context, now)
        except Exception as error:  # noqa: BLE001  # whatever it is, the client is answered
            errors.append(_shown(field, error))
            if failed := definition is None or isinstance(definition.type, GraphQLNonNull):
                break
            found = Read(b"null", ONCE, 0)
        parts.append(b'"%b":%b' % (key.encode(), found.text))
        scopes.append(found.scope)
        time += field.price.of(found.rows)
    body = b'{"data":%b}' % (b"null" if failed else b"{%b}" % b",".join(parts))
    if errors:
        body = body[:-1] + b',"errors":%b}' % json.dumps(errors, separators=(",", ":")).encode()
        scopes.append(ONCE)
    return Answer(
        body,
        tuple(scopes),
        requested=plan.points,
        actual=cost.points(time),
        error=str(errors[0]["extensions"]["code"]) if errors else None,
    )


async def _read(field: Field[Step], context: Context, now: datetime) -> Read:
    if isinstance(field.arguments, GraphQLError):
        raise field.arguments
    assert field.compiled.made is not None
    return await field.compiled.made(context, field.arguments, now)


def _shown(field: Field[Step], error: Exception) -> dict[str, Any]:
    """The error as a client reads it."""
    root = field.compiled.root
    return {**client_error(located_error(error, list(root.nodes), [root.key])).formatted}
