"""A client's messages in graphql-transport-ws, validated."""

from typing import Any

from starlette.types import Message

from quotes.server.graphql_request import MalformedError, json_of

MAX_ID = 256  # characters of an operation's id; clients use a UUID or a number


def message_of(event: Message) -> dict[str, Any]:
    """Raises MalformedError where it does not have the shape of a message."""
    text = event.get("text")
    if text is None:
        raise MalformedError("Messages are text, not binary.")
    message = json_of(text)
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise MalformedError("A message is a JSON object with a `type`.")
    if not isinstance(message.get("payload"), dict | None):
        raise MalformedError("A message's `payload` is an object.")
    return message


def id_of(message: dict[str, Any]) -> str:
    """Raises MalformedError where the id is missing or invalid."""
    identity = message.get("id")
    if not isinstance(identity, str) or not 1 <= len(identity) <= MAX_ID:
        raise MalformedError(f"`id` is a string of 1 to {MAX_ID} characters.")
    return identity
