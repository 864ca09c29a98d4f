"""What tests of GraphQL over HTTP send, and how."""

import json
from collections.abc import Mapping
from typing import Any

from client import Client

JSON = "application/json"
RESPONSE = "application/graphql-response+json"
EVENTS = "text/event-stream"
URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, "
    "text/event-stream, multipart/mixed"
)
TYPENAME = {"query": "{ __typename }"}
ANSWER = {"data": {"__typename": "Query"}}


async def post(
    client: Client, body: object, **headers: str
) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.http.post(
        f"{client.url}/graphql", data=json.dumps(body), headers={"Content-Type": JSON, **named}
    ) as response:
        return response.status, response.headers, await response.json(content_type=None)
