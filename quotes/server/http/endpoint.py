"""GraphQL over HTTP: one request, one operation, one answer.

The rules are those of the GraphQL-over-HTTP draft. `application/graphql-response+json` carries its
outcome in the status; `application/json` is 200 for whatever reached the schema.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from quotes.api.context import Context
from quotes.api.errors import Code, RefusedError, bad_input, request_errors
from quotes.api.plans.answers import Answer
from quotes.api.plans.documents import subscribes, valid
from quotes.api.plans.persisted import PersistedQueries
from quotes.api.schema import schema
from quotes.live.turns import client
from quotes.server import documents
from quotes.server.access import client_of
from quotes.server.graphql_request import Operation
from quotes.server.http import codings
from quotes.server.http.error_response import RequestError
from quotes.server.http.request import ALLOW, METHODS, Media, accepted, operation_of
from quotes.server.http.response import Outcome, compress, response_of, validate
from quotes.server.monitoring.query_metrics import OK, code_of, measured
from quotes.server.operations import Streams
from quotes.server.streams import sse

PATHS = frozenset({"/graphql", "/graphql/"})
OVERLOADED = "quotes.overloaded"  # in a request's scope: why it is not to be executed
HOW_TO_SUBSCRIBE = (
    "A subscription has no single answer. Request server-sent events with `Accept: "
    "text/event-stream`, or open a WebSocket at this address with the subprotocol "
    "graphql-transport-ws."
)
NO_MUTATIONS = "Nothing can be changed here: there are queries and subscriptions, no mutations."


async def enter(scope: Scope) -> None:
    """Let a request begin, before anything else is spent on it; whether it may is in its scope."""
    streams: Streams = scope["app"].state.streams
    streams.access.identify(scope)
    client.set((client_of(scope), object()))
    try:
        await streams.admission.enter()
    except RefusedError as refusal:
        scope[OVERLOADED] = refusal


def require_entered(scope: Scope, streams: Streams) -> None:
    """Raises RefusedError where it brings no token that it needs, or was not let in."""
    streams.access.require(scope)
    if isinstance(overloaded := scope.get(OVERLOADED), RefusedError):
        raise overloaded


class Endpoint:
    """The ASGI application. Each request has passed `enter`."""

    def __init__(self) -> None:
        self._persisted = PersistedQueries()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method == "OPTIONS":
            await Response(status_code=204, headers=ALLOW)(scope, receive, send)
            return
        try:
            await self._serve(request, send)
        except RequestError as error:
            await error.response()(scope, receive, send)
        except ClientDisconnect:
            return  # it disconnected while it was sending

    async def _serve(self, request: Request, send: Send) -> None:
        if request.method not in METHODS:
            raise RequestError(405, "Send GraphQL by POST or GET.", headers=ALLOW)
        streams: Streams = request.app.state.streams
        media = accepted(request)
        try:
            require_entered(request.scope, streams)
            operation = await operation_of(request, self._persisted)
        except RefusedError as refusal:
            best = next((each for each in media if each is not Media.EVENTS), Media.JSON)
            outcome = not_executed(refusal)
            await response_of(outcome, best)(request.scope, request.receive, send)
            return
        if Media.EVENTS in media and (
            media[0] is Media.EVENTS or await _subscribes(operation, streams)
        ):
            await sse.respond(operation, request, send)
            return
        outcome = await outcome_of(operation, streams, method=request.method)
        best = next(each for each in media if each is not Media.EVENTS)
        response = response_of(outcome, best)
        answer, readable = outcome.answer, request.method in {"GET", "HEAD"}
        if readable and answer is not None and answer.closed(streams.context.now()):
            validate(request, response, answer.etag, streams)
        if len(response.body) > codings.SHORT:
            await compress(request, response, outcome.answer, streams.plans.answers)
        await response(request.scope, request.receive, send)


async def outcome_of(operation: Operation, streams: Streams, *, method: str) -> Outcome:
    """From the cache without admission; otherwise by a plan or, without one, executed."""
    request = operation.query, operation.name, operation.variables
    answer = await streams.plans.cached(*request)
    if answer is not None:
        answer.uses.count += 1
        return _shown(answer, operation)
    with measured(operation.query, operation.name) as query:
        outcome = await _answered(operation, streams, method=method)
        query.code = outcome.error
    return outcome


async def _answered(operation: Operation, streams: Streams, *, method: str) -> Outcome:
    try:
        await documents.check(streams.context.thread, operation.query, operation.variables)
        answer = await streams.read(operation)
        if answer is None:
            async with streams.admission.admitted():
                return await execute(operation, streams.context, method=method)
    except GraphQLError as error:
        return not_executed(error)
    return _shown(answer, operation)


def _shown(answer: Answer, operation: Operation) -> Outcome:
    error = answer.error or OK
    if operation.shows_cost:
        return Outcome(answer.with_cost(), error=error)
    return Outcome(answer.body, answer=answer, error=error)


async def _subscribes(operation: Operation, streams: Streams) -> bool:
    try:
        await documents.check(streams.context.thread, operation.query)
    except GraphQLError:  # which is answered in due course
        return False
    document = valid(operation.query)
    return document is not None and subscribes(document, operation.name)


async def execute(operation: Operation, context: Context, *, method: str) -> Outcome:
    """Raises RequestError for a mutation by GET, which HTTP does not allow."""
    try:
        result = await schema.execute(
            operation.query,
            variable_values=operation.variables,
            context_value=context,
            operation_name=operation.name,
            allowed_operation_types={OperationType.QUERY},
        )
    except CannotGetOperationTypeError as error:
        return not_executed(bad_input(_no_operation(error.operation_name)))
    except InvalidOperationTypeError as error:
        if error.operation_type is OperationType.SUBSCRIPTION:
            return not_executed(bad_input(HOW_TO_SUBSCRIBE))
        if method != "POST":
            raise RequestError(405, NO_MUTATIONS, headers={"Allow": "POST"}) from None
        return not_executed(bad_input(NO_MUTATIONS))
    errors = request_errors(result.errors or (), suggest=context.settings.introspection)
    if result.data is None and errors and all(error.path is None for error in errors):
        return not_executed(*errors, extensions=result.extensions)
    body = _encoded(result.extensions, errors, data=result.data)
    return Outcome(body, error=code_of([error.formatted for error in errors]))


def _no_operation(name: str | None) -> str:
    if name is None:
        return "The document holds no operation."
    return f"The document holds no operation of the name {name[:40]!r}."


def not_executed(*errors: GraphQLError, extensions: dict[str, Any] | None = None) -> Outcome:
    """The outcome of a request error: without `data`, as the specification has it."""
    first = errors[0].extensions or {}
    code = Code(first.get("code", Code.INTERNAL))
    after = first.get("retryAfter")
    return Outcome(
        _encoded(extensions, errors),
        code=code,
        retry_after=None if after is None else math.ceil(after),
        error=code,
    )


def _encoded(
    extensions: dict[str, Any] | None, errors: Sequence[GraphQLError], **body: object
) -> bytes:
    """In ASCII: what a client sent, and an error repeats, may be no valid Unicode."""
    if errors:
        body["errors"] = [error.formatted for error in errors]
    if extensions:
        body["extensions"] = extensions
    return json.dumps(body, separators=(",", ":")).encode()
