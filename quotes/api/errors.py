"""What a client receives in place of an answer; a fault of ours is one sentence, and logged."""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

import structlog
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import SchemaExtension
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from quotes.database.errors import BusyError, DatabaseError, UnavailableError

log = structlog.get_logger()

MAX_MESSAGE = 500  # characters
OUR_FAULT = "Something went wrong on our side; it has been logged."
RETRY_AFTER = 1  # seconds


class Code(StrEnum):
    """What `extensions.code` says."""

    BAD_INPUT = "BAD_INPUT"  # correct the request; the message says how
    UNKNOWN_TICKER = "UNKNOWN_TICKER"  # neither collected nor stored here; see `tickers`
    STALE_PRICE = (
        "STALE_PRICE"  # older than `maxAge`; the extensions have the last one and the cause
    )
    UNCERTAIN_PRICE = "UNCERTAIN_PRICE"  # its exchanges are further apart than `maxSpread`, or that
    # is not known; the extensions have the last one, and the spread
    UNAUTHENTICATED = (
        "UNAUTHENTICATED"  # an access token is required; the message says how to send it
    )
    TOO_MANY = "TOO_MANY"  # as much as one client may have at once; the message says of what
    THROTTLED = "THROTTLED"  # the client has spent its budget; try again after `retryAfter`
    OVERLOADED = "OVERLOADED"  # more is requested than can be answered in time; try again later
    RETIRED = "RETIRED"  # of minutes that are no longer kept; the message says what is
    CURSOR_LOST = "CURSOR_LOST"  # of a log that is no more; begin again without `after`
    UNAVAILABLE = "UNAVAILABLE"  # our database cannot be reached; try again
    PERSISTED_QUERY_NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"  # send it with its text once more
    INTERNAL = "INTERNAL"  # our fault; it is in our log


# What GraphQL's parser, validation and coercion of values raise, by way of an error without a path.
_OVER_A_REQUEST = (
    GraphQLError,
    ValueError,
    MissingQueryError,
    CannotGetOperationTypeError,
    InvalidOperationTypeError,
)
# At the end of a message, as graphql-core 3.3 has it.
_SUGGESTION = re.compile(r" Did you mean .*\?$", re.DOTALL)


class RefusedError(GraphQLError):
    """The request cannot be answered as it stands, and the message says what to change."""

    def __init__(self, code: Code, message: str, **more: object) -> None:
        super().__init__(message, extensions={"code": code.value, **more})
        self.code = code
        self.more = more


def bad_input(message: str) -> RefusedError:
    return RefusedError(Code.BAD_INPUT, message)


def client_error(error: GraphQLError) -> GraphQLError:
    """The error as a client may see it."""
    cause = error.original_error
    if isinstance(error, RefusedError) or isinstance(cause, RefusedError):
        return error
    if isinstance(cause, DatabaseError):
        refusal = refusal_of(cause)
        return _shown(error, refusal.code, refusal.message, **refusal.more)
    if _is_the_requests(error):
        return _shown(error, Code.BAD_INPUT, _short(error.message))
    log.error("request_failed", path=error.path, exc_info=cause)
    return _shown(error, Code.INTERNAL, OUR_FAULT)


def request_errors(errors: Iterable[GraphQLError], *, suggest: bool) -> list[GraphQLError]:
    """As `client_error`; unless `suggest`, without names of the schema that may have been meant.

    Strawberry's own extensions raise errors that have bypassed `ErrorCodes`.
    """
    shown = [each if "code" in (each.extensions or {}) else client_error(each) for each in errors]
    return shown if suggest else [_without_suggestion(each) for each in shown]


def refusal_of(error: DatabaseError) -> RefusedError:
    """What a client is answered. What is no outage is logged; an outage, by the feed."""
    if isinstance(error, UnavailableError):
        message = "The database cannot be reached just now. Try again."
        return RefusedError(Code.UNAVAILABLE, message, retryAfter=RETRY_AFTER)
    if isinstance(error, BusyError):
        log.warning("request_overloaded", reason=str(error))
        message = "The database did not answer in time. Request less, or try again later."
        return RefusedError(Code.OVERLOADED, message, retryAfter=RETRY_AFTER)
    log.error("request_refused_by_database", reason=str(error))
    return RefusedError(Code.INTERNAL, OUR_FAULT)


def _is_the_requests(error: GraphQLError) -> bool:
    """Whether it was raised over the request itself, before any of our code ran for it."""
    cause = error.original_error
    if cause is None:
        return True
    if error.path is None:
        return isinstance(cause, _OVER_A_REQUEST)
    return isinstance(cause, GraphQLError) and cause.nodes is not None  # an argument's value


def _short(message: str) -> str:
    """Without most of a very long value that the message repeats."""
    return message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + "..."


def _without_suggestion(error: GraphQLError) -> GraphQLError:
    code = Code((error.extensions or {})["code"])
    return _shown(error, code, _SUGGESTION.sub("", error.message))


def _shown(error: GraphQLError, code: Code, message: str, **more: object) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions={**more, "code": code.value, **(error.extensions or {})},
    )


class ErrorCodes(SchemaExtension):
    """Adds the code to every error, and logs our own failures in place of showing them."""

    def on_operation(self) -> Iterator[None]:
        yield
        _add_codes(self.execution_context.result)

    def on_stream_result(self, result: Any) -> Iterator[None]:
        _add_codes(result)
        yield


def _add_codes(result: Any) -> None:
    errors = getattr(result, "errors", None)
    if errors:
        result.errors = [client_error(error) for error in errors]
