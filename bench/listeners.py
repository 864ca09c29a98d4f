"""Many subscribers in one process, which do as little as they can for each message.

    python bench/listeners.py PORT COUNT FIELD [sse]

The first line of its input is a JSON list of the payloads of `subscribe`, given to the COUNT
subscribers in turn; it prints a line when all are open. Then it answers each line, a number N, as
soon as N quotes more have arrived in all, or none did for IDLE seconds: what arrived and when
(CLOCK_MONOTONIC, the same for all processes of a machine), and how many came duplicated or out of
order. FIELD is the quote's number in the answers: `cursor` or `seq`. They subscribe by WebSocket,
or by server-sent events.
"""

import json
import os
import re
import select
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from itertools import cycle, islice

IDLE = 20.0  # seconds without a message, after which what has not come is lost
SETTLE = 0.2  # seconds in which a double would come
MEDIUM = 126  # a frame's length byte for up to 65,535 bytes
PING = re.compile(rb"\x89(?:\x00|\x04(.{4}))", re.DOTALL)  # of `ws`, of uvicorn; all else is ASCII
OPENED_AT_ONCE = 200

HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)


def frame(message: object) -> bytes:
    """A client's text frame, masked with zeros, which leave the text as it is."""
    text = json.dumps(message).encode()
    if len(text) < MEDIUM:
        return bytes((0x81, 0x80 | len(text))) + bytes(4) + text
    return bytes((0x81, 0x80 | MEDIUM)) + len(text).to_bytes(2, "big") + bytes(4) + text


def opened(port: int, subscription: object) -> socket.socket:
    """A socket that has subscribed."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(HANDSHAKE)
    _read_until(connection, b"\r\n\r\n")
    connection.sendall(frame({"type": "connection_init"}))
    _read_until(connection, b"connection_ack")
    connection.sendall(frame({"id": "1", "type": "subscribe", "payload": subscription}))
    connection.setblocking(False)  # noqa: FBT003  # its only argument
    return connection


def opened_events(port: int, subscription: object) -> socket.socket:
    """A connection whose answer is a stream of events."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    body = json.dumps(subscription).encode()
    head = (
        "POST /graphql HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    _read_until(connection, b"retry:")
    connection.setblocking(False)  # noqa: FBT003  # its only argument
    return connection


def _read_until(connection: socket.socket, end: bytes) -> None:
    data = b""
    while end not in data:
        more = connection.recv(4096)
        if not more:
            raise ConnectionError(data)
        data += more


class Listeners:
    """All of them. Frames are not parsed: a quote's number is found by its name."""

    def __init__(self, connections: Iterable[socket.socket], field: str) -> None:
        self.number = re.compile(rb'"%s":"?s?(\d+)[^\d]' % field.encode())
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.last: defaultdict[int, int] = defaultdict(int)
        self.rest: defaultdict[int, bytes] = defaultdict(bytes)
        self.at: dict[int, list[float]] = {}  # of each number: how many, sum of times, last time
        self.arrived = self.wrong = self.closed = 0
        for number, connection in enumerate(connections):
            self.sockets[connection.fileno()] = connection
            self.poll.register(connection.fileno(), select.EPOLLIN)
            if number % OPENED_AT_ONCE == 0:
                for descriptor, _ in self.poll.poll(0):  # pings, which do not wait
                    self.receive(descriptor)

    def receive(self, descriptor: int) -> None:
        data = os.read(descriptor, 262_144)
        now = time.monotonic()
        if not data:
            self.closed += 1
            self.poll.unregister(descriptor)
            return
        data = self.rest[descriptor] + data
        end = 0
        for found in self.number.finditer(data):
            end = found.end()
            self._note(descriptor, int(found[1]), now)
        self.rest[descriptor] = data[end:]
        for ping in PING.finditer(data):
            payload = ping[1] or b""
            answer = bytes((0x8A, 0x80 | len(payload))) + bytes(4) + payload
            self.sockets[descriptor].send(answer)

    def _note(self, descriptor: int, number: int, now: float) -> None:
        self.arrived += 1
        self.wrong += number <= self.last[descriptor]
        self.last[descriptor] = number
        times = self.at.get(number)
        if times is None:
            self.at[number] = [1, now, now]
        else:
            times[0] += 1
            times[1] += now
            times[2] = now

    def listen(self, awaited: int | None = None) -> None:
        """Until so many have arrived and it was quiet for a while; or until a command comes."""
        while awaited is None or self.arrived < awaited:
            ready = self.poll.poll(IDLE if awaited is not None else None)
            if not ready:
                return
            for descriptor, _ in ready:
                if descriptor in self.sockets:
                    self.receive(descriptor)
                else:
                    return
        while ready := self.poll.poll(SETTLE):
            for descriptor, _ in ready:
                self.receive(descriptor)

    def report(self) -> dict[str, object]:
        answer = {
            "arrived": self.arrived,
            "wrong": self.wrong,
            "closed": self.closed,
            "last_at": max((times[2] for times in self.at.values()), default=0.0),
            "at": self.at,
        }
        self.arrived, self.at = 0, {}
        return answer


def main(port: int, count: int, field: str, transport: str = "websocket") -> None:
    commands = sys.stdin
    subscriptions = json.loads(commands.readline())
    connect = opened_events if transport == "sse" else opened
    given = islice(cycle(subscriptions), count)
    listeners = Listeners((connect(port, each) for each in given), field)
    print(json.dumps({"open": count}), flush=True)
    while True:
        listeners.poll.register(commands.fileno(), select.EPOLLIN)
        listeners.listen()
        line = commands.readline()
        if not line:
            return
        listeners.poll.unregister(commands.fileno())
        listeners.listen(int(line))
        print(json.dumps(listeners.report()), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
