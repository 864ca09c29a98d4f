"""A GraphQL request, as it stands in any connection's JSON."""

import json
from dataclasses import dataclass
from typing import Any


class MalformedError(Exception):
    """What was sent is not a GraphQL request; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One GraphQL request: a document, an operation's name and variables."""

    query: str
    name: str | None
    variables: dict[str, Any] | None
    shows_cost: bool = False  # in the answer's extensions

    @classmethod
    def of(cls, request: object) -> "Operation":
        """From a request's JSON. Raises MalformedError where a part has a wrong type."""
        if not isinstance(request, dict):
            raise MalformedError("A request is a JSON object.")
        query, name, variables = (
            request.get(key) for key in ("query", "operationName", "variables")
        )
        if not isinstance(query, str):
            raise MalformedError("`query` must be a string.")
        if not isinstance(name, str | None):
            raise MalformedError("`operationName` must be a string or null.")
        if not isinstance(variables, dict | None):
            raise MalformedError("`variables` must be an object or null.")
        extensions = request.get("extensions")
        if not isinstance(extensions, dict | None):
            raise MalformedError("`extensions` must be an object or null.")
        shows_cost = extensions is not None and extensions.get("cost") is True
        return cls(query, name or None, variables, shows_cost)  # an empty name is none


def json_of(text: str | bytes) -> Any:
    """Raises MalformedError for what is no JSON, or has numbers that JSON does not."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise MalformedError("That is not JSON.") from None


def _no_number(name: str) -> float:
    raise ValueError(name)
