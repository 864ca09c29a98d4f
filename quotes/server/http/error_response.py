"""A request that is answered with an error in place of a GraphQL result, in a result's shape."""

import json
from collections.abc import Mapping

from starlette.responses import Response

from quotes.api.errors import Code


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
