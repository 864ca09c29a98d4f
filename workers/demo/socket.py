"""The stand-in's WebSocket: JSON-RPC requests, and each subscribed channel's messages."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import WSMsgType, web

from workers.demo.faults import Reply, compact, error_reply, result

STATE = "platform_state"  # a channel of changes
MAX_FRAME = 32 << 10  # bytes, from a client
SHORTEST_HEARTBEAT = 10  # seconds

MALFORMED = error_reply(-32600, "Invalid Request")
TOO_MANY = error_reply(10028, "too_many_requests")
BAD_PARAMS = error_reply(-32602, "Invalid params", reason="wrong format", param="channels")


class Publisher(Protocol):
    """What a socket gets its answers from."""

    every: float  # seconds between two messages of a channel

    def accepts(self, channel: str) -> bool:
        """Whether there is such a channel. The others are left out of a subscription's reply."""
        ...

    def refuses(self, channel: str) -> bool:
        """Whether a subscription to it is one request too many, which ends the connection."""
        ...

    def data(self, channel: str) -> str | None:
        """The text of the channel's next message; None if it is silent just now."""
        ...

    def locked(self) -> set[str]:
        """The indexes that are locked just now."""
        ...

    def reply(self, method: str, params: Mapping[str, str]) -> Reply:
        """The reply to a method that HTTP has, too."""
        ...

    def envelope(self, member: str, number: object = None) -> str:
        """The whole text of a reply."""
        ...


class Socket:
    """One client's connection."""

    def __init__(self, publisher: Publisher, socket: web.WebSocketResponse) -> None:
        self.channels: list[str] = []
        self.subscriptions = 0  # requests for them
        self.tests = 0  # requests for public/test, which is how a test request is answered
        self._publisher = publisher
        self._socket = socket
        self._heartbeat = 0  # seconds; 0 for none
        self._locked: set[str] = set()  # as last sent
        self._refused = False
        self._methods: dict[str, Callable[[dict[str, Any]], object]] = {
            "subscribe": lambda params: self._subscribe(params["channels"]),
            "unsubscribe": lambda params: self._unsubscribe(params["channels"]),
            "set_heartbeat": lambda params: self._set_heartbeat(params["interval"]),
        }

    async def run(self) -> None:
        """Serve it until either side closes it."""
        tasks = [asyncio.create_task(each) for each in (self._publish(), self._beat())]
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self.send(self._answer(message.data))
                if self._refused:
                    break
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def send(self, text: str) -> None:
        with suppress(ConnectionError):
            await self._socket.send_str(text)

    async def notify(self, channel: str, data: str) -> None:
        """Send a message of a channel, with the text of its data."""
        params = f'{{"channel":{compact(channel)},"data":{data}}}'
        await self.send(f'{{"jsonrpc":"2.0","method":"subscription","params":{params}}}')

    async def request_test(self) -> None:
        await self.send('{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}')

    async def close(self) -> None:
        await self._socket.close()

    async def _publish(self) -> None:
        while True:
            if STATE in self.channels:
                await self._publish_state()
            for channel in list(self.channels):
                if (data := self._publisher.data(channel)) is not None:
                    await self.notify(channel, data)
            await asyncio.sleep(self._publisher.every)

    async def _publish_state(self) -> None:
        locked = self._publisher.locked()
        for index in sorted(locked ^ self._locked):
            state = {"price_index": index, "locked": index in locked}
            await self.notify(STATE, compact(state))
        self._locked = locked

    async def _beat(self) -> None:
        """Request tests, and close a connection that leaves one unanswered."""
        while True:
            await asyncio.sleep(self._heartbeat or 1)
            if self._heartbeat:
                answered = self.tests
                await self.request_test()
                await asyncio.sleep(self._heartbeat)
                if self.tests == answered:
                    await self.close()

    def _answer(self, text: str) -> str:
        try:
            request = json.loads(text)
            number, method = request["id"], str(request["method"]).removeprefix("public/")
            params = request.get("params", {})
        except (ValueError, KeyError, TypeError, AttributeError):
            return self._publisher.envelope(MALFORMED[1])
        return self._publisher.envelope(self._reply(method, params)[1], number)

    def _reply(self, method: str, params: dict[str, Any]) -> Reply:
        self.tests += method == "test"
        self.subscriptions += method == "subscribe"
        if any(map(self._publisher.refuses, params.get("channels", ()))):
            self._refused = True
            return TOO_MANY
        if (own := self._methods.get(method)) is None:
            return self._publisher.reply(method, params)
        try:
            return result(compact(own(params)))
        except (KeyError, TypeError, ValueError):
            return BAD_PARAMS

    def _subscribe(self, channels: Iterable[str]) -> list[str]:
        accepted = [each for each in channels if self._publisher.accepts(each)]
        self.channels += [each for each in accepted if each not in self.channels]
        return accepted

    def _unsubscribe(self, channels: Iterable[str]) -> list[str]:
        gone = [each for each in self.channels if each in set(channels)]
        self.channels = [each for each in self.channels if each not in gone]
        return gone

    def _set_heartbeat(self, seconds: int) -> str:
        self._heartbeat = max(SHORTEST_HEARTBEAT, int(seconds))
        return "ok"


class Sockets:
    """The open connections of a publisher; none is opened while `allowed` is false."""

    def __init__(self, publisher: Publisher, *, allowed: bool) -> None:
        self.allowed = allowed
        self.open: list[Socket] = []
        self.opened = 0  # so far
        self._publisher = publisher

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if not self.allowed:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        response = web.WebSocketResponse(max_msg_size=MAX_FRAME, compress=False)
        await response.prepare(request)
        socket = Socket(self._publisher, response)
        self.open.append(socket)
        self.opened += 1
        try:
            await socket.run()
        finally:
            self.open.remove(socket)
        return response

    async def close(self) -> None:
        for socket in list(self.open):
            await socket.close()
