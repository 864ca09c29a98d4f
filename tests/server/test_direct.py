"""What is written to a connection without waking a task, and when it takes no more."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from quotes.server.protocol.connection import DIRECT, Direct
from quotes.server.protocol.http import Http
from quotes.server.protocol.shared import Shared
from quotes.server.protocol.websocket import WebSocket
from quotes.settings import Settings

MOST = 2_000  # messages of LONG bytes, which no buffers take
LONG = 10_000
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

Write = Callable[[Direct, list[bytes]], bool]


def one_by_one(direct: Direct, messages: list[bytes]) -> bool:
    return all(direct.try_write(message) for message in messages)


def at_once(direct: Direct, messages: list[bytes]) -> bool:
    return direct.try_write_all(messages)


@pytest.mark.parametrize("write", [one_by_one, at_once])
@pytest.mark.parametrize("request_", [HANDSHAKE, REQUEST])
async def test_a_reader_that_stops_fills_its_buffer_and_then_reads_all_that_was_written(
    settings: Settings, request_: bytes, write: Write
) -> None:
    async with connected(settings, request_) as (direct, reader):
        written = 0
        while write(direct, [b"%08d" % written + bytes(LONG), b"%08d" % (written + 1)]):
            written += 2
            assert written < MOST

        reading = asyncio.create_task(taken(reader, b"%08d" % written))
        async with asyncio.timeout(60):
            while not write(direct, [b"%08d" % written, b"end"]):
                await direct.room()
            data = await reading

    places = [data.find(b"%08d" % number) for number in range(written + 1)]
    assert -1 not in places
    assert places == sorted(places)


async def taken(reader: asyncio.StreamReader, last: bytes) -> bytes:
    data = bytearray()
    while last not in data:
        data += await reader.read(1 << 20)
    return bytes(data)


@asynccontextmanager
async def connected(
    settings: Settings, sent: bytes
) -> AsyncIterator[tuple[Direct, asyncio.StreamReader]]:
    """A connection on both of its sides, whose answer has begun."""
    application = Application()
    config = uvicorn.Config(application, http=Http, ws=WebSocket, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    server.server_state = Shared(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname(), limit=1)
        writer.write(sent)
        try:
            async with asyncio.timeout(60):
                yield await application.direct, reader
        finally:
            writer.close()
            server.should_exit = True
            await serving


class Application:
    """Begins an answer, and leaves the rest of it to whoever takes `direct`."""

    def __init__(self) -> None:
        self.direct: asyncio.Future[Direct] = asyncio.get_running_loop().create_future()

    def immediate(self, *_: object) -> None:
        """It answers nothing at once."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        else:
            await send({"type": "websocket.accept"})
        self.direct.set_result(scope["extensions"][DIRECT])
        while (await receive())["type"] not in {"http.disconnect", "websocket.disconnect"}:
            pass
