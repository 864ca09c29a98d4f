"""Whatever bytes come over a connection, they end it or are answered, and nothing goes wrong."""

import asyncio
import logging
import os
import random

import pytest
import structlog
from client import serving
from connection import HEAD, POST, QUERY, UPGRADE, connection
from rows import until, wait

from quotes.settings import Settings

SEED = int(os.environ.get("QUOTES_TEST_BYTES_SEED", "20260131"))
ROUNDS, AT_ONCE = 10, 50
HASTE = {"first_byte_timeout": 0.1, "header_timeout": 0.1, "body_timeout": 0.1, "keep_alive": 1}

INIT = b'{"type":"connection_init"}'
SUBSCRIBE = b'{"id":"1","type":"subscribe","payload":{"query":"{ __typename }"}}'
EVENTS = b"GET /graphql?query=subscription{priceUpdates{at}} HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nA: b\r\n\r\n"


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """Masked with zeros, which leave the payload as it is."""
    return bytes((first, 0x80 | len(payload))) + bytes(4) + payload


VALID = [
    POST,
    POST * 3,
    CHUNKED % (len(QUERY), QUERY),
    b"GET /graphql?query={__typename} HTTP/1.0\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://localhost/readyz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(QUERY) + QUERY,
    EVENTS + b"Accept: text/event-stream\r\n\r\n",
    EVENTS + b"Accept: text/event-stream\r\nLast-Event-ID: s1\r\n\r\n" + POST,
    UPGRADE + b"\r\n" + frame(INIT) + frame(SUBSCRIBE) + frame(b"\x03\xe8", 0x88),
    UPGRADE + b"\r\n" + frame(INIT[:9], 0x01) + frame(b"", 0x89) + frame(INIT[9:], 0x80),
    POST + UPGRADE + b"\r\n",
]
PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\0", b"\xff", b": ", b";", b"%", b"?", b"#", b"//", b"\r\n\r\n"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
    *(b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Expect: 100-continue\r\n"),
    *(b"X-Forwarded-For: 1\r\n", b"Host: \xff\r\n", b"Content-Encoding: gzip\r\n"),
    *(b"999999999999999999999", b"-1", b"0x1\r\n", b"a" * 9_000, b"A: b\r\n" * 120),
    *(frame(b"\xff\xfe"), frame(b"[" * 120), frame(b"", 0x8F), b"\x82\xff" + b"\xff" * 8),
]


def mutated(dice: random.Random) -> bytes:
    """A valid exchange with some of its bytes removed, replaced, doubled or added."""
    data = bytearray(dice.choice(VALID))
    for _ in range(dice.randint(0, 4)):
        at = dice.randrange(len(data) + 1)
        to = min(len(data), at + dice.choice([0, 0, 1, 2, 20, 1_000]))
        new = dice.choice([b"", bytes(data[at:to]) * 2, dice.choice(PIECES), dice.randbytes(3)])
        data[at:to] = new
    return bytes(data)


async def send(url: str, data: bytes, dice: random.Random) -> None:
    """In one piece or several; who sends leaves, or waits for the end of the connection."""
    async with connection(url) as stranger:
        try:
            for _ in range(dice.randint(0, 2)):
                at = dice.randrange(len(data) + 1)
                await stranger.send(data[:at])
                await asyncio.sleep(0)
                data = data[at:]
            await stranger.send(data)
            if dice.random() < 0.5:
                async with asyncio.timeout(0.3):
                    await stranger.rest()
        except (ConnectionError, TimeoutError):
            return


async def status(url: str) -> int:
    """Of an honest request; 0 where that was slower than these limits."""
    try:
        async with connection(url) as honest:
            return (await honest.ask()).status
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0


async def test_any_bytes_leave_no_error_in_the_log_and_no_connection_behind(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(SEED)  # noqa: S311  # no secret
    settings = Settings.model_validate({"database_url": database_url, **HASTE})
    async with serving(settings) as client:
        with structlog.testing.capture_logs() as ours:
            for _ in range(ROUNDS):
                await asyncio.gather(
                    *(send(client.url, mutated(dice), dice) for _ in range(AT_ONCE))
                )
            await wait(lambda: status(client.url), lambda answered: answered == 200)
            await until(lambda: client.server.server_state.open_connections.open <= 1)
            await until(lambda: client.state.streams.connection_limits.connections == 0)

    theirs = [each for each in caplog.records if each.exc_info or each.levelno > logging.WARNING]
    assert [each.getMessage() for each in theirs] == []
    assert [each for each in ours if each["log_level"] != "info"] == []
