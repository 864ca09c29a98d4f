"""What other protocols than GraphQL answer from: queries of our own, read as any client's are.

So they are admitted, paid for, cached and refused in the same way.
"""

from typing import Any

import orjson

from quotes.api.errors import Code, RefusedError
from quotes.api.plans.answers import Answer
from quotes.server.graphql_request import Operation
from quotes.server.http.endpoint import outcome_of
from quotes.server.operations import Streams


async def data(
    streams: Streams, query: str, **variables: object
) -> tuple[dict[str, Any], Answer | None]:
    """The data, by field, and the answer that it is in, if that may be cached.

    Raises RefusedError for an error of any field.
    """
    outcome = await outcome_of(Operation(query, None, variables), streams, method="GET")
    whole = orjson.loads(outcome.body)
    for error in whole.get("errors", ()):
        more = error.get("extensions", {})
        code = Code(more.pop("code", Code.INTERNAL))
        raise RefusedError(code, error["message"], **more)
    return whole["data"], outcome.answer
