"""GraphQL over HTTP: one request, one operation, one answer.

The rules are those of the GraphQL-over-HTTP draft. `application/graphql-response+json` carries its
outcome in the status; `application/json` is 200 for whatever reached the schema.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from quotes.api.context import Context
from quotes.api.errors import Code, Refusal, bad_input, client_error
from quotes.api.plans.answers import Answer, Answers
from quotes.api.plans.documents import subscribes, valid
from quotes.api.plans.persisted import PersistedQueries
from quotes.api.schema import schema
from quotes.live.turns import client
from quotes.server import sse
from quotes.server.access import client_of
from quotes.server.http import codings
from quotes.server.http.error_response import RequestError
from quotes.server.http.request import ALLOW, METHODS, Media, accepted, operation_of
from quotes.server.operations import Operation, Streams

PATHS = frozenset({"/graphql", "/graphql/"})
OVERLOADED = "quotes.overloaded"  # in a request's scope: why it is not to be executed
HOW_TO_SUBSCRIBE = (
    "A subscription has no single answer. Request server-sent events with `Accept: "
    "text/event-stream`, or open a WebSocket at this address with the subprotocol "
    "graphql-transport-ws."
)
NO_MUTATIONS = "Nothing can be changed here: there are queries and subscriptions, no mutations."
_HEADERS = {"Cache-Control": "no-store", "Vary": "Accept, Accept-Encoding, Authorization"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an operation: a GraphQL result, and why if it was not executed."""

    body: bytes
    code: Code | None = None  # of the error that prevented its execution
    answer: Answer | None = None  # whose body it is, where plans gave it
    retry_after: int | None = None  # seconds


async def enter(scope: Scope) -> None:
    """Let a request begin, before anything else is spent on it; whether it may is in its scope."""
    streams: Streams = scope["app"].state.streams
    streams.access.identify(scope)
    try:
        await streams.admission.enter()
    except Refusal as refusal:
        scope[OVERLOADED] = refusal


class Endpoint:
    """The ASGI application. Each request has passed `enter`."""

    def __init__(self) -> None:
        self._persisted = PersistedQueries()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client.set((client_of(scope), object()))
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
            streams.access.require(request.scope)
            if isinstance(overloaded := request.scope.get(OVERLOADED), Refusal):
                raise overloaded
            operation = await operation_of(request, self._persisted)
        except Refusal as refusal:
            best = next((each for each in media if each is not Media.EVENTS), Media.JSON)
            outcome = not_executed(refusal)
            await response_of(outcome, best)(request.scope, request.receive, send)
            return
        if Media.EVENTS in media and (
            media[0] is Media.EVENTS or await _subscribes(operation, streams)
        ):
            await sse.respond(operation, request, send)
            return
        outcome = await _outcome(operation, streams, method=request.method)
        best = next(each for each in media if each is not Media.EVENTS)
        response = response_of(outcome, best)
        if outcome.answer is not None and request.method in {"GET", "HEAD"}:
            validate(request, response, outcome.answer, streams)
        if len(response.body) > codings.SHORT:
            await _compress(request, response, outcome.answer, streams.plans.answers)
        await response(request.scope, request.receive, send)


async def _outcome(operation: Operation, streams: Streams, *, method: str) -> Outcome:
    """From the cache without admission; otherwise by a plan or, without one, executed."""
    request = operation.query, operation.name, operation.variables
    answer = await streams.plans.cached(*request)
    try:
        if answer is None:
            await streams.documents.check(operation.query)
            async with streams.admission.admitted():
                answer = await streams.plans.answer(*request)
                if answer is None:
                    return await execute(operation, streams.context, method=method)
    except GraphQLError as error:
        return not_executed(error)
    return Outcome(answer.body, answer=answer)


async def _compress(
    request: Request, response: Response, answer: Answer | None, answers: Answers
) -> None:
    coding = codings.best(",".join(request.headers.getlist("accept-encoding")))
    if coding is None:
        return
    if answer is None:
        response.body = await codings.compressed(bytes(response.body), coding)
    else:
        response.body = await codings.coded(answer, coding, answers)
    response.headers["Content-Encoding"] = coding
    response.headers["Content-Length"] = str(len(response.body))


def validate(request: Request, response: Response, answer: Answer, streams: Streams) -> None:
    """Let a closed range's answer be cached, and answer 304 where the client has it.

    A late row may still arrive, so caches revalidate each time; the ETag is the answer's hash.
    """
    if not answer.closed(streams.context.now()):
        return
    shared = "private" if streams.access.required else "public"
    response.headers["ETag"] = answer.etag
    response.headers["Cache-Control"] = f"{shared}, no-cache"
    known = {each.strip().removeprefix("W/") for each in if_none_match(request)}
    if answer.etag.removeprefix("W/") in known or "*" in known:
        response.status_code = 304
        response.body = b""
        del response.headers["content-length"]


def if_none_match(request: Request) -> list[str]:
    return ",".join(request.headers.getlist("if-none-match")).split(",")


async def _subscribes(operation: Operation, streams: Streams) -> bool:
    try:
        await streams.documents.check(operation.query)
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
    errors = [_coded(error) for error in result.errors or ()]
    if result.data is None and errors and all(error.path is None for error in errors):
        return not_executed(*errors, extensions=result.extensions)
    return Outcome(_encoded(result.extensions, errors, data=result.data))


def _coded(error: GraphQLError) -> GraphQLError:
    """Errors raised by other extensions have bypassed the one that adds the codes."""
    return error if "code" in (error.extensions or {}) else client_error(error)


def _no_operation(name: str | None) -> str:
    if name is None:
        return "The document holds no operation."
    return f"The document holds no operation of the name {name[:40]!r}."


def not_executed(*errors: GraphQLError, extensions: dict[str, Any] | None = None) -> Outcome:
    """The outcome of a request error: without `data`, as the specification has it."""
    first = errors[0].extensions or {}
    after = first.get("retryAfter")
    return Outcome(
        _encoded(extensions, errors),
        code=Code(first.get("code", Code.INTERNAL)),
        retry_after=None if after is None else math.ceil(after),
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


# With plain JSON too, so that proxies and load balancers see it.
_STATUS = {Code.UNAVAILABLE: 503, Code.OVERLOADED: 503, Code.TOO_MANY: 503, Code.INTERNAL: 500}


def headers_of(media: Media) -> dict[str, str]:
    """Of every answer in this media type."""
    return {"Content-Type": f"{media}; charset=utf-8", **_HEADERS}


def response_of(outcome: Outcome, media: Media) -> Response:
    """With plain JSON only the body shows that a document is invalid: the status is 200."""
    if outcome.code is None:
        status = 200
    else:
        status = _STATUS.get(outcome.code, 200 if media is Media.JSON else 400)
    headers = headers_of(media)
    if outcome.retry_after is not None:
        headers["Retry-After"] = str(outcome.retry_after)
    return Response(outcome.body, status, headers)
