"""The graphql-transport-ws protocol: what goes over one WebSocket.

The rules and the close codes are those of the protocol's text, PROTOCOL.md of graphql-ws. A message
that breaks them closes the socket; whatever is wrong with one operation ends that operation only.
"""

import asyncio
import json
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send
from strawberry.http.websocket_origin import is_same_origin

from quotes.api.errors import Code, RefusedError
from quotes.database.errors import UnavailableError
from quotes.live.subscriber import SinkClosedError
from quotes.live.turns import client
from quotes.server.access import HOLDER, ForbiddenError, key_of
from quotes.server.graphql_request import MalformedError, Operation
from quotes.server.limits.connection_limits import TooManyConnectionsError, address_of
from quotes.server.operations import FailedError, Streams
from quotes.server.protocol.connection import DIRECT, Connection, Direct, write
from quotes.server.streams.messages import id_of, message_of
from quotes.server.streams.operation_sink import OperationSink

log = structlog.get_logger()

PATH = "/graphql"
SUBPROTOCOL = "graphql-transport-ws"
FORBIDDEN = 4403  # the close code where the access token is missing, wrong or removed
INIT_TIMEOUT = 10.0  # seconds from a socket's opening to its connection_init
MAX_REASON = 123  # bytes of a close frame's reason


class ClosingError(Exception):
    """The socket is to be closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class WebSocketEndpoint:
    """The ASGI endpoint. `origins` are the browsers' origins that may subscribe from elsewhere."""

    def __init__(self, *, origins: tuple[str, ...]) -> None:
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # the handshake
        if scope["path"].removesuffix("/") != PATH or not self._is_allowed(scope):
            await send({"type": "websocket.close"})  # not accepted yet, so this is a 403
            return
        offered = SUBPROTOCOL in scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if offered else None})
        client.set((address_of(scope), object()))
        streams: Streams = scope["app"].state.streams
        connection: Connection = scope["extensions"][DIRECT]
        streams.access.identify(scope)
        scope["headers"] = []  # uvicorn holds the scope as long as the socket
        socket = Socket(streams, receive, send, connection, scope.get(HOLDER))
        try:
            with streams.connection_limits.connected(address_of(scope)):
                connection.dedicate()
                if not offered:
                    raise ClosingError(4406, f"Subprotocol not acceptable; offer {SUBPROTOCOL}")  # noqa: TRY301
                await socket.run()
        except TooManyConnectionsError as error:
            await socket.close(1013, str(error))
        except ClosingError as closing:
            await socket.close(closing.code, closing.reason)

    def _is_allowed(self, scope: Scope) -> bool:
        """Any program; of browsers' pages, which send their origin, only allowed ones."""
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        return not origin or origin in self._origins or is_same_origin(origin, host)


class Socket:
    """One client's connection. Each operation is a task of its own."""

    __slots__ = (
        "_acknowledged",
        "_closed",
        "_connection",
        "_holder",
        "_operations",
        "_receive",
        "_send",
        "_streams",
    )

    def __init__(
        self,
        streams: Streams,
        receive: Receive,
        send: Send,
        connection: Direct,
        holder: str | None,
    ) -> None:
        self._streams = streams
        self._receive = receive
        self._send = send
        self._connection = connection
        self._holder = holder  # of the token, if one is required
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._acknowledged = False
        self._closed = False

    async def run(self) -> None:
        """Until the client disconnects. Raises ClosingError where it violates the protocol."""
        try:
            async with asyncio.timeout(INIT_TIMEOUT):
                while not self._acknowledged:
                    if not await self._receive_message():
                        return
        except TimeoutError:
            raise ClosingError(4408, "Connection initialisation timeout") from None
        forbid = partial(self.close, FORBIDDEN, "Forbidden")
        try:
            with self._streams.access.connected(self._holder, forbid):
                while await self._receive_message():
                    pass
        finally:
            await self._end_operations()

    async def close(self, code: int, reason: str) -> None:
        if not self._closed:
            self._closed = True
            reason = reason.encode()[:MAX_REASON].decode(errors="ignore")
            with suppress(OSError):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _receive_message(self) -> bool:
        """Receive and answer one message; returns whether there may be more."""
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            self._closed = True
            return False
        try:
            await self._answer(message_of(event))
        except MalformedError as error:
            raise ClosingError(4400, str(error)) from None
        except SinkClosedError:
            self._closed = True
            return False
        return True

    async def _answer(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "connection_init":
            await self._acknowledge(message.get("payload"))
        elif kind == "ping":
            await self._write('{"type":"pong"}')
        elif kind == "subscribe":
            await self._subscribe(id_of(message), message.get("payload"))
        elif kind == "complete":
            if task := self._operations.pop(id_of(message), None):
                task.cancel()
        elif kind != "pong":
            raise MalformedError("That message's type is unknown.")

    async def _acknowledge(self, payload: dict[str, Any] | None) -> None:
        if self._acknowledged:
            raise ClosingError(4429, "Too many initialisation requests")
        try:
            self._holder = self._streams.access.holder(self._holder, payload)
        except ForbiddenError:
            raise ClosingError(FORBIDDEN, "Forbidden") from None
        except RefusedError as refusal:
            raise ClosingError(1013, refusal.message) from None
        if self._holder is not None:
            client.set((key_of(self._holder), object()))  # for all of its operations
        self._acknowledged = True
        await self._write('{"type":"connection_ack"}')

    async def _subscribe(self, identity: str, payload: object) -> None:
        if not self._acknowledged:
            raise ClosingError(4401, "Unauthorized")
        operation = Operation.of(payload)
        if identity in self._operations:
            raise ClosingError(4409, f"Subscriber for {identity} already exists")
        most = self._streams.context.settings.max_operations
        if len(self._operations) >= most:
            message = f"At most {most} operations run at once on one socket."
            errors = [{"message": message, "extensions": {"code": Code.TOO_MANY.value}}]
            await self._write(json.dumps({"id": identity, "type": "error", "payload": errors}))
            return
        task = asyncio.create_task(self._run(identity, operation))
        self._operations[identity] = task

    async def _run(self, identity: str, operation: Operation) -> None:
        """Write an operation's payloads, and how it ended."""
        last: dict[str, Any] = {"id": identity, "type": "complete"}
        head = f'{{"id":{json.dumps(identity)},"type":"next","payload":'.encode()
        try:
            await self._streams.deliver(operation, OperationSink(self._connection, closed, head))
        except FailedError as failed:
            last = {"id": identity, "type": "error", "payload": failed.errors}
        except UnavailableError:
            await self.close(1013, "The database cannot be reached just now; come again")
        except SinkClosedError:
            return
        except Exception:
            log.exception("operation_failed")
            last = {"id": identity, "type": "error", "payload": [_OUR_FAULT]}
        self._operations.pop(identity, None)  # first: the id is free once the client knows
        with suppress(SinkClosedError):
            await self._write(json.dumps(last))

    async def _write(self, text: str) -> None:
        """Raises SinkClosedError where the client has disconnected."""
        try:
            await write(self._connection, text.encode())
        except OSError:
            raise SinkClosedError from None

    async def _end_operations(self) -> None:
        tasks = list(self._operations.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def closed(payload: bytes, cursor: str | None) -> bytes:
    """What follows the head of a `next` message, which has no field for a cursor."""
    return payload + b"}"


_OUR_FAULT = {
    "message": "Something went wrong on our side; it has been logged.",
    "extensions": {"code": Code.INTERNAL.value},
}
