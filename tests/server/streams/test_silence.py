"""A database connection that is slow or dies silently, and readers that stop reading."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote as quoted
from urllib.parse import unquote, urlsplit

import pytest
from client import Client, serving
from processes import Api, free_port
from pydantic import SecretStr
from rows import insert, quote, seq_of, until, wait

from quotes.database import connections
from quotes.database.sessions import Sessions
from quotes.live.feed import open_feed
from quotes.local import probe
from quotes.server.protocol import stalls, websocket
from quotes.settings import Settings


class Proxy:
    """A way to the database whose connections can be slow, or fall silent: no end, no reset."""

    delay = 0.0  # seconds that it adds each way

    def __init__(self, url: str, folder: Path) -> None:
        parts = urlsplit(url)
        user, _, address = parts.netloc.rpartition("@")
        host, _, port = unquote(address).partition(":")
        self._host, self._port = host, int(port or 5432)
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent: set[asyncio.Task[None]] = set()
        self.path = folder / f".s.PGSQL.{self._port}"
        here = f"{user}@{quoted(str(folder), safe='')}:{self._port}"
        self.url = parts._replace(netloc=here).geturl()

    def fall_silent(self) -> None:
        """For those connections that there are; later ones work."""
        self._silent.update(self._tasks)

    async def join(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        if self._host.startswith("/"):
            far, out = await asyncio.open_unix_connection(f"{self._host}/{self.path.name}")
        else:
            far, out = await asyncio.open_connection(self._host, self._port)
        for source, to in ((near, out), (far, back)):
            self._tasks.add(asyncio.create_task(self._pipe(source, to)))

    async def _pipe(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                await asyncio.sleep(self.delay)
                if asyncio.current_task() not in self._silent:
                    to.write(data)
        to.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def proxy(settings: Settings, folder: Path) -> AsyncIterator[Proxy]:
    proxy = Proxy(settings.require_database_url(), folder)
    server = await asyncio.start_unix_server(proxy.join, proxy.path)
    yield proxy
    server.close()
    await proxy.close()


async def test_a_listen_connection_that_died_silently_is_replaced_and_quotes_arrive_meanwhile(
    proxy: Proxy, sessions: Sessions
) -> None:
    connect = connections.connector(proxy.url, name="feed")
    async with open_feed(sessions, connect, sessions) as (feed, _):
        await until(lambda: feed.listening)

        proxy.fall_silent()
        await insert(sessions, quote(at=1))

        await until(lambda: feed.last == 1)
        assert feed.listening  # nobody knows yet: the timer brought it
        await until(lambda: not feed.listening, seconds=10)
        await until(lambda: feed.listening, seconds=10)
        await insert(sessions, quote(at=2))
        await until(lambda: feed.last == 2)


async def test_a_process_whose_database_takes_300_ms_is_ready_and_answers(
    proxy: Proxy, settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=1, price="1.5"))
    proxy.delay = 0.15
    async with serving(
        settings.model_copy(update={"database_url": SecretStr(proxy.url)})
    ) as client:
        await wait(lambda: client.report("/readyz"), lambda report: report[0] == 200)
        answer = await client.data('{ latestPrice(ticker: "BTC") { price } }')

    assert answer == {"price": "1.5"}


async def test_a_web_process_ends_though_its_database_has_fallen_silent(
    proxy: Proxy, settings: Settings
) -> None:
    port = free_port()
    api = Api(settings.model_copy(update={"database_url": SecretStr(proxy.url)}), port)
    await api.start()
    assert api.process is not None
    try:
        await wait(lambda: probe.answers("127.0.0.1", port, "/readyz"), bool)
        proxy.fall_silent()
        async with asyncio.timeout(60):
            await api.end(signal.SIGTERM)
    finally:
        if api.process.returncode is None:
            await api.end(signal.SIGKILL)

    assert api.process.returncode == 0


UPDATES = 'subscription { priceUpdates(after: "s0") { cursor source price at } }'


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


async def test_a_reader_that_stops_reading_is_cut_off_and_delays_nobody(
    client: Client, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "STALL_TIMEOUT", 0.3)
    monkeypatch.setattr(websocket, "GRACE", 0.1)
    stuck = await stuck_reader(client, operations=50)
    async with client.subscription(UPDATES) as updates:
        for at in range(0, 4_000, 500):
            await insert(sessions, *(quote(at=each) for each in range(at, at + 500)))
            for each in range(at, at + 500):
                assert seq_of((await updates.next())["cursor"]) == each + 1

        async def connections() -> int:
            return int((await client.report("/readyz"))[1]["connections"])

        async with asyncio.timeout(60):
            while await connections() > 1:
                pass
    stuck.close()


async def stuck_reader(client: Client, *, operations: int) -> socket.socket:
    """Subscribes so many times on one socket with a small buffer, and never reads."""
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    parts = urlsplit(client.url)
    handshake = (
        "GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
    )
    stuck.settimeout(0)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(stuck, (parts.hostname, parts.port))
    await loop.sock_sendall(stuck, handshake.encode())
    await loop.sock_recv(stuck, 4_096)
    messages: list[object] = [{"type": "connection_init"}]
    for number in range(operations):
        payload = {"query": UPDATES}
        messages.append({"id": str(number), "type": "subscribe", "payload": payload})
    for message in messages:
        await loop.sock_sendall(stuck, masked(json.dumps(message).encode()))
    return stuck


def masked(text: bytes) -> bytes:
    """A client's frame, masked with zeros, which leave the text as it is."""
    return b"\x81" + bytes((0x80 | 126,)) + len(text).to_bytes(2, "big") + bytes(4) + text
