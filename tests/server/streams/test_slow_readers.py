"""Hundreds of real connections, a third of which read slowly, beside bursts of commits."""

import asyncio
import json
import random
import re
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote as quoted
from urllib.parse import urlsplit

import pytest
from client import serving
from rows import insert, log, quote, until

from quotes.database.sessions import Sessions
from quotes.server.protocol import stalls
from quotes.settings import Settings

READERS = 600
WRITERS, COMMITS = 4, 120
SMALL = 4_096  # bytes of a buffer
QUERY = 'subscription { priceUpdates(after: "s0") { cursor ticker price at observedAt source } }'
CURSOR = re.compile(rb'"cursor":"s(\d+)-')  # and the quote's fingerprint


class Readers(threading.Thread):
    """Connections read in a thread of their own; the slow ones a little, now and then."""

    def __init__(self, url: str) -> None:
        super().__init__()
        parts = urlsplit(url)
        self.address = (str(parts.hostname), int(parts.port or 0))
        self.dice = random.Random(7)  # noqa: S311  # no secret
        self.seen: list[list[int]] = [[] for _ in range(READERS)]
        self.rest: list[bytes] = [b""] * READERS
        self.open = 0
        self.ended = threading.Event()

    def run(self) -> None:
        with selectors.DefaultSelector() as fast:
            slow = [self.connect(number) for number in range(0, READERS, 3)]
            for number in range(READERS):
                if number % 3:
                    fast.register(self.connect(number)[1], selectors.EVENT_READ, number)
            while not self.ended.is_set():
                for key, _ in fast.select(0.02):
                    self.read(key.data, key.fileobj, 65_536)  # type: ignore[arg-type]
                for number, connection in slow:
                    if self.dice.random() < 0.1:
                        self.read(number, connection, SMALL)
            for key in list(fast.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
            for _, connection in slow:
                connection.close()

    def connect(self, number: int) -> tuple[int, socket.socket]:
        """By WebSocket; every fourth by server-sent events."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        connection.settimeout(60)
        connection.connect(self.address)
        if number % 4 == 0:
            head = f"GET /graphql?query={quoted(QUERY)} HTTP/1.1\r\nHost: localhost\r\n"
            connection.sendall(f"{head}Accept: text/event-stream\r\n\r\n".encode())
        else:
            connection.sendall(HANDSHAKE)
            connection.recv(4_096)
            subscribe = {"id": "1", "type": "subscribe", "payload": {"query": QUERY}}
            for message in ({"type": "connection_init"}, subscribe):
                connection.sendall(masked(json.dumps(message).encode()))
        connection.setblocking(False)  # noqa: FBT003  # its only argument
        self.open += 1
        return number, connection

    def read(self, number: int, connection: socket.socket, most: int) -> None:
        try:
            data = self.rest[number] + connection.recv(most)
        except BlockingIOError:
            return
        end = 0
        for found in CURSOR.finditer(data):
            self.seen[number].append(int(found[1]))
            end = found.end()
        self.rest[number] = data[end:]


HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)


def masked(text: bytes) -> bytes:
    """A client's frame, masked with zeros, which leave the text as it is."""
    if len(text) < 126:
        return b"\x81" + bytes((0x80 | len(text),)) + bytes(4) + text
    return b"\x81" + bytes((0x80 | 126,)) + len(text).to_bytes(2, "big") + bytes(4) + text


@contextmanager
def reading(url: str) -> Iterator[Readers]:
    readers = Readers(url)
    readers.start()
    try:
        yield readers
    finally:
        readers.ended.set()


async def test_600_connections_a_third_of_them_slow_get_every_quote_once_and_in_order(
    settings: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "BUFFER", SMALL)
    monkeypatch.setattr(stalls, "STALL_TIMEOUT", 60.0)
    many = {"max_sockets": 1_000, "max_sockets_per_address": 1_000}
    async with serving(settings.model_copy(update=many), send_buffer=SMALL) as client:
        with reading(client.url) as readers:
            await until(lambda: readers.open == READERS, seconds=60)
            async with asyncio.TaskGroup() as writers:
                for number in range(WRITERS):
                    writers.create_task(write(sessions, f"t{number}_usd"))
            written = [each.seq for each in await log(sessions)]
            await until(lambda: all(len(seen) >= COMMITS for seen in readers.seen), seconds=120)
            await asyncio.to_thread(_end, readers)

    assert written == list(range(1, COMMITS + 1))
    assert [seen == written for seen in readers.seen] == [True] * READERS


async def write(sessions: Sessions, ticker: str) -> None:
    for at in range(COMMITS // WRITERS):
        await insert(sessions, quote(ticker, at))


def _end(readers: Readers) -> None:
    readers.ended.set()
    readers.join()
