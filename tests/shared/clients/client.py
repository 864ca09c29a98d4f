"""The service on a real socket, and a client of it as a user would write one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from quotes.server import process
from quotes.settings import Settings

PROTOCOL = "graphql-transport-ws"


class Subscription:
    """One operation on a socket of its own."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def message(self) -> dict[str, Any]:
        async with asyncio.timeout(60):
            message: dict[str, Any] = await self.socket.receive_json()
            return message

    async def next(self) -> dict[str, Any]:
        """The next quote's fields."""
        message = await self.message()
        assert message["type"] == "next", message
        (quote,) = message["payload"]["data"].values()
        return dict(quote)


class Client:
    """Speaks to the service at `url`, as in http://127.0.0.1:8000."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        # Where it runs in this process:
        self.server: Any = None
        self.state: Any = None  # of the application

    async def answer(self, query: str, **variables: object) -> dict[str, Any]:
        """The whole answer, with its errors."""
        body = {"query": query, "variables": variables}
        async with self.http.post(f"{self.url}/graphql", json=body) as response:
            whole: dict[str, Any] = await response.json()
            return whole

    async def data(self, query: str, **variables: object) -> Any:
        """The data of an answer without errors: of its only field, that field's."""
        whole = await self.answer(query, **variables)
        assert "errors" not in whole, whole["errors"]
        data = whole["data"]
        return next(iter(data.values())) if len(data) == 1 else data

    async def refusal(self, query: str, **variables: object) -> tuple[str, str]:
        """The code and the sentence of the only error."""
        (error,) = (await self.answer(query, **variables))["errors"]
        return error["extensions"]["code"], error["message"]

    async def report(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self.http.get(f"{self.url}{path}") as response:
            return response.status, await response.json()

    def socket(self, *protocols: str) -> Any:
        """A WebSocket, to be entered, on which nothing has been sent yet."""
        return self.http.ws_connect(f"{self.url}/graphql", protocols=protocols or (PROTOCOL,))

    @asynccontextmanager
    async def acknowledged_socket(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket whose connection_init was acknowledged."""
        async with self.socket() as socket:
            await socket.send_json({"type": "connection_init"})
            assert await socket.receive_json(timeout=60) == {"type": "connection_ack"}
            yield socket

    @asynccontextmanager
    async def subscription(self, query: str, **variables: object) -> AsyncIterator[Subscription]:
        async with self.acknowledged_socket() as socket:
            payload = {"query": query, "variables": variables}
            await socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
            yield Subscription(socket)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        yield Client(http, url)


@asynccontextmanager
async def serving(settings: Settings, *, send_buffer: int | None = None) -> AsyncIterator[Client]:
    """The web process's own server, in this loop, on a free port.

    `send_buffer` is in bytes, of each connection in the kernel; the system's own if left out.
    """
    server = process.server(settings)
    with process.listen("127.0.0.1", 0) as listener:
        if send_buffer is not None:  # what is accepted inherits it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with connected(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
                client.server, client.state = server, server._app.state
                yield client
        finally:
            server.should_exit = True
            await running
