"""A way to the service that a test interrupts: its connections are cut, or fall silent."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Relay:
    """TCP connections, passed on as they are while nothing is wrong."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._pipes: set[asyncio.Task[None]] = set()
        self._silent: set[asyncio.Task[None]] = set()
        self.is_open = True
        self.url = ""

    def close(self) -> None:
        """Cut what is connected, and let nothing connect until `is_open` is set again."""
        self.is_open = False
        for pipe in self._pipes:
            pipe.cancel()

    def fall_silent(self) -> None:
        """For those connections that there are: no end, no reset; later ones work."""
        self._silent.update(self._pipes)

    async def join(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        if not self.is_open:
            back.close()
            return
        far, out = await asyncio.open_connection(self._host, self._port)
        for source, to in ((near, out), (far, back)):
            pipe = asyncio.create_task(self._pipe(source, to))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await source.read(65_536):
                    if asyncio.current_task() not in self._silent:
                        to.write(data)
            if asyncio.current_task() in self._silent:
                await asyncio.Event().wait()  # until it is cancelled: its end is not passed on
        finally:
            to.close()

    async def end(self) -> None:
        pipes = list(self._pipes)
        self.close()
        await asyncio.gather(*pipes, return_exceptions=True)


@asynccontextmanager
async def relayed(url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Relay]:
    """With TLS on its near side, if there is a context for it."""
    relay = Relay(url)
    server = await asyncio.start_server(relay.join, "127.0.0.1", 0, ssl=tls)
    relay.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        server.close()
        await relay.end()
