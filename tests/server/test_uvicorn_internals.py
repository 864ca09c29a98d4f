"""What `quotes.server.protocol` relies on of uvicorn and websockets is as it was.

Where a test here fails, that folder has to be read beside the library's new release.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from internals import lacking, parameters
from rows import until
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode
from websockets.protocol import State

REQUEST = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n["
HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize(
    ("kind", "methods"),
    [
        (
            HttpToolsProtocol,
            {
                "__init__": "config, server_state, app_state, _loop",
                "connection_made": "transport",
                "connection_lost": "exc",
                "data_received": "data",
                "on_headers_complete": "",
                "on_response_complete": "",
                "send_400_response": "msg",
                "handle_websocket_upgrade": "",
                "pause_writing": "",
                "resume_writing": "",
                "_start_asgi_task": "cycle, app",
                "_unset_keepalive_if_required": "",
            },
        ),
        (RequestResponseCycle, {"send": "message"}),
        (FlowControl, {"drain": "", "resume_reading": ""}),
        (
            WebSocketsSansIOProtocol,
            {
                "__init__": "config, server_state, app_state, _loop",
                "connection_made": "transport",
                "connection_lost": "exc",
                "handle_connect": "event",
                "pause_writing": "",
                "resume_writing": "",
                "send": "message",
            },
        ),
        (uvicorn.Server, {"main_loop": "", "on_tick": "counter", "shutdown": "sockets"}),
    ],
)
def test_the_methods_that_are_called_or_overridden_are_there(
    kind: type, methods: dict[str, str]
) -> None:
    assert parameters(kind, methods) == methods


async def test_an_http_connection_has_the_attributes_that_are_read_and_set() -> None:
    async with connected(HttpToolsProtocol, REQUEST) as connection:
        await until(lambda: connection.cycle is not None)
        cycle = connection.cycle

        assert lacking(connection, "config client loop parser server_state transport") == []
        assert connection.scope is cycle.scope
        assert (connection.url, connection.headers[0]) == (b"/graphql", (b"host", b"localhost"))
        assert not connection.pipeline
        assert not any((connection.flow.read_paused, connection.flow.write_paused))
        assert cycle.flow is connection.flow
        assert cycle.transport is connection.transport
        assert cycle.default_headers == connection.server_state.default_headers
        assert isinstance(cycle.body, bytearray)
        assert cycle.more_body
        assert cycle.keep_alive
        assert not any((cycle.response_started, cycle.response_complete, cycle.disconnected))
        assert not any((cycle.waiting_for_100_continue, cycle.chunked_encoding))
        assert cycle.expected_content_length == 0
        assert isinstance(cycle.message_event, asyncio.Event)


async def test_a_connection_leaves_room_for_our_own_attributes() -> None:
    """A dict of more than 30 would be a slow one; the 28th is `url`, and we add two (`phases`)."""
    connection = HttpToolsProtocol(*_parts())

    assert len(vars(connection)) <= 27


async def test_a_websocket_has_the_attributes_that_are_read_and_set() -> None:
    async with connected(WebSocketsSansIOProtocol, HANDSHAKE) as connection:
        await until(lambda: hasattr(connection, "scope"))

        assert lacking(connection, "loop transport response") == []
        assert connection.handshake_initiated
        assert not connection.disconnected
        assert connection.writable.is_set()
        assert connection.conn.state in {State.CONNECTING, State.OPEN}
        assert parameters(type(connection.conn), ["send_close"]) == {"send_close": "code, reason"}
        assert connection.conn.data_to_send() == []
        assert connection.request.headers["Host"] == "localhost"
        assert "extensions" in connection.scope


def test_the_names_that_are_imported_mean_what_they_did() -> None:
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    assert issubclass(ClientDisconnected, OSError)
    assert int(CloseCode.TRY_AGAIN_LATER) == 1013
    assert lacking(ServerState(), "connections default_headers tasks total_requests") == []
    assert lacking(uvicorn.Server(uvicorn.Config(_waits)), "force_exit server_state") == []


@asynccontextmanager
async def connected(kind: type, sent: bytes) -> AsyncIterator[Any]:
    """uvicorn's own side of a connection on which so much was received."""
    server = uvicorn.Server(_parts()[0])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        _, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(sent)
        try:
            open_ = server.server_state.connections
            await until(lambda: [type(each) for each in open_] == [kind])
            yield next(iter(open_))
        finally:
            writer.close()
            server.should_exit = True
            await serving


def _parts() -> tuple[uvicorn.Config, ServerState, dict[str, Any]]:
    config = uvicorn.Config(
        _waits,
        http=HttpToolsProtocol,
        ws=WebSocketsSansIOProtocol,
        lifespan="off",
        log_config=None,
    )
    config.load()
    return config, ServerState(), {}


async def _waits(scope: Any, receive: Any, send: Any) -> None:
    """An application that takes what it is sent, and sends nothing."""
    while (await receive())["type"] not in {"http.disconnect", "websocket.disconnect"}:
        pass
