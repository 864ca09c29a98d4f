"""One subscription to `priceUpdates` on one WebSocket, by graphql-transport-ws."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import aiohttp

from quotes.client.endpoint import Endpoint
from quotes.client.errors import (
    AddressError,
    QuotesError,
    UnauthenticatedError,
    UnreachableError,
    refused,
)
from quotes.client.rows import Quote
from quotes.client.wire import row, selection

UPDATES = f"""subscription ($tickers: [Ticker!], $after: String) {{
  priceUpdates(tickers: $tickers, after: $after) {selection(Quote)} }}"""

# Close codes after which another attempt would end alike; docs/errors.md has them all. Any other
# is a restart, an outage or a lost connection.
FORBIDDEN = 4403
REFUSALS = {1008, 4400, 4401, 4406, 4409, 4429}


async def updates(
    endpoint: Endpoint, tickers: Sequence[str] | None, after: str | None
) -> AsyncGenerator[Quote, None]:
    """What the service sends, for ever.

    Raises UnreachableError where the connection is lost, and QuotesError for what is refused.
    """
    async with endpoint.socket() as socket:
        try:
            await _begin(endpoint, socket, {"tickers": tickers, "after": after})
            while True:
                message = await _received(endpoint, socket)
                match message["type"]:
                    case "next":
                        yield _quote(message["payload"])
                    case "error":
                        raise refused(message["payload"][0])
                    case "ping":
                        await socket.send_str('{"type":"pong"}')
                    case "complete":
                        raise UnreachableError(f"{endpoint.url} has ended the subscription.")
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(f"The connection to {endpoint.url} was lost: {error}") from None


async def _begin(
    endpoint: Endpoint, socket: aiohttp.ClientWebSocketResponse, variables: dict[str, object]
) -> None:
    try:
        async with asyncio.timeout(endpoint.limits.timeout):
            await socket.send_str('{"type":"connection_init"}')
            while (await _received(endpoint, socket))["type"] != "connection_ack":
                pass
            payload = {"query": UPDATES, "variables": variables}
            await socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
    except TimeoutError:
        raise UnreachableError(
            f"{endpoint.url} did not begin the subscription within {endpoint.limits.timeout:g} s."
        ) from None


async def _received(endpoint: Endpoint, socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise _closed(endpoint.url, socket.close_code, message.extra)
    received: dict[str, Any] = json.loads(message.data)
    return received


def _closed(url: str, code: int | None, reason: str | None) -> QuotesError:
    if code == FORBIDDEN:
        return UnauthenticatedError(
            "The access token is missing or unknown, or was removed.", {"code": "UNAUTHENTICATED"}
        )
    closed = f"{code}: {reason}" if reason else f"{code}"
    if code in REFUSALS:
        return AddressError(f"{url} refuses this client's WebSocket ({closed}).")
    return UnreachableError(f"The connection to {url} was lost ({closed}).")


def _quote(payload: dict[str, Any]) -> Quote:
    if errors := payload.get("errors"):
        raise refused(errors[0])
    return row(Quote, payload["data"]["priceUpdates"])
