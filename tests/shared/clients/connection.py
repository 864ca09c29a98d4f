"""A connection on which a test sends bytes of its own, as no client would."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

HEAD = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
QUERY = b'{"query": "{ __typename }"}'
POST = HEAD + b"Content-Length: %d\r\n\r\n" % len(QUERY) + QUERY
UPGRADE = (
    b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n"
)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer with a Content-Length."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Of its only error."""
        (error,) = json.loads(self.body)["errors"]
        return str(error["extensions"]["code"])


class Connection:
    """Bytes sent, and what comes for them. Each wait has a limit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(20):
            await self._writer.drain()

    async def answer(self) -> Answer:
        async with asyncio.timeout(20):
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(first.split()[1]), headers, body)

    async def rest(self) -> bytes:
        """Whatever comes until the server has closed the connection."""
        async with asyncio.timeout(20):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""

    async def rest_of_chunks(self) -> bytes:
        """What comes of a chunked body until its last chunk."""
        received = b""
        async with asyncio.timeout(60):
            while not received.endswith(b"\r\n0\r\n\r\n"):
                more = await self._reader.read(65_536)
                assert more, "the connection ended before the body"
                received += more
        return received

    async def head(self) -> bytes:
        """The head of an answer."""
        async with asyncio.timeout(60):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def ask(self, request: bytes = POST) -> Answer:
        await self.send(request)
        return await self.answer()


@asynccontextmanager
async def connection(url: str, *, source: str = "127.0.0.1") -> AsyncIterator[Connection]:
    """To the service at `url`, from the loopback address `source`."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port, local_addr=(source, 0)
    )
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


def changed(settings: Any, **values: object) -> Any:
    return settings.model_copy(update=values)
