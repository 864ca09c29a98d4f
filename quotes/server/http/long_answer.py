"""An answer whose body is sent in pieces, for as long as its client reads it.

A client that reads nothing is cut off (`quotes.server.protocol.stalls`), and so is one that has not
read everything after LONGEST. A body that cannot be sent to its end is cut off, too, in the middle
of a chunk or before its Content-Length, so that no client takes it for whole.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Protocol

import structlog
import zstandard
from starlette.requests import Request
from starlette.types import Receive, Send

from quotes.server.access import HOLDER
from quotes.server.http.codings import Coding
from quotes.server.operations import Streams
from quotes.server.protocol.connection import DIRECT
from quotes.server.protocol.http import Body

log = structlog.get_logger()

LONGEST = 600.0  # seconds


class Encoder(Protocol):
    """Compresses a body piece by piece."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def encoder(coding: Coding) -> Encoder:
    if coding is Coding.ZSTD:
        return zstandard.ZstdCompressor(level=1).compressobj()
    return zlib.compressobj(level=1, wbits=31)


async def encoded(pieces: AsyncGenerator[bytes], coding: Coding) -> AsyncGenerator[bytes]:
    coder = encoder(coding)
    async with aclosing(pieces):
        async for piece in pieces:
            yield coder.compress(piece)
    yield coder.flush()


async def send_long(  # noqa: PLR0913, PLR0917  # the answer, and whose it is
    request: Request,
    send: Send,
    streams: Streams,
    status: int,
    headers: Mapping[str, str],
    pieces: AsyncGenerator[bytes],
) -> None:
    """Send the answer, until its end, its client's, its access token's or this process's.

    Raises TooManyConnectionsError, before anything is sent.
    """
    running: list[asyncio.Task[None]] = []
    with streams.access.connected(request.scope.get(HOLDER), partial(_cancel, running)):
        task = asyncio.create_task(_send(request, send, status, headers, pieces))
        running.append(task)
        streams.ended_by_shutdown.add(task)
        try:
            await asyncio.wait(running, timeout=LONGEST)
        finally:
            streams.ended_by_shutdown.discard(task)
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if outcome is not None:
        if not isinstance(outcome, OSError):  # else the client has left
            log.warning("answer_cut_off", path=request.url.path, reason=repr(outcome))
        direct(request).cut()
        await _disconnected(request.receive)


async def _send(
    request: Request,
    send: Send,
    status: int,
    headers: Mapping[str, str],
    pieces: AsyncGenerator[bytes],
) -> None:
    """Raises OSError where the client has left."""
    fields = [(name.lower().encode(), text.encode("latin-1")) for name, text in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    body = direct(request)
    async with aclosing(pieces):
        async for piece in pieces:
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await body.room()
    await send({"type": "http.response.body", "body": b""})


def direct(request: Request) -> Body:
    body: Body = request.scope["extensions"][DIRECT]
    return body


async def _cancel(running: list[asyncio.Task[None]]) -> None:
    for task in running:
        task.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
