"""A request that is answered with an error in place of a GraphQL result, in a result's shape."""

import json
import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from starlette.responses import Response

from quotes.api.errors import RETRY_AFTER, Code, RefusedError

# Of a refusal, with plain JSON too, so that proxies and load balancers see it.
STATUS = {
    Code.INTERNAL: 500,
    Code.OVERLOADED: 503,
    Code.THROTTLED: 429,
    Code.TOO_MANY: 503,
    Code.UNAVAILABLE: 503,
}


class RequestError(Exception):
    """The request cannot be executed; the message is the client's."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: Code = Code.BAD_INPUT,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers

    def response(self) -> Response:
        return error_response(self.status, str(self), code=self.code, headers=self.headers)


def error_response(
    status: int,
    message: str,
    *,
    code: Code = Code.BAD_INPUT,
    headers: Mapping[str, str] | None = None,
) -> Response:
    error = {"message": message, "extensions": {"code": code.value}}
    return Response(
        json.dumps({"errors": [error]}),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )


def refusal_response(refusal: RefusedError) -> Response:
    """What a file's address answers in place of the file."""
    return error_response(
        file_status(refusal), refusal.message, code=refusal.code, headers=retry_after(refusal)
    )


def file_status(refusal: RefusedError) -> int:
    """Where the address names the ticker, an unknown one is no such file."""
    return 404 if refusal.code is Code.UNKNOWN_TICKER else STATUS.get(refusal.code, 400)


def retry_after(refusal: RefusedError) -> dict[str, str]:
    seconds = refusal.more.get("retryAfter")
    return {"Retry-After": str(math.ceil(seconds))} if isinstance(seconds, int | float) else {}


def last_answer(status: int, message: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What is written to a connection that ends with it, in place of an answer of the app's."""
    code, more = Code.BAD_INPUT, {"Connection": "close"}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        code, more["Retry-After"] = Code.TOO_MANY, str(RETRY_AFTER)
    response = error_response(status, message, code=code, headers=more)
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    lines = [b"%b: %b\r\n" % field for field in [*headers, *response.raw_headers]]
    return b"".join([first, *lines, b"\r\n", bytes(response.body)])
