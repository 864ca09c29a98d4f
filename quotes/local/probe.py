"""Probing whether our own processes and the exchange answer."""

import asyncio
import threading
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any

_EXCHANGE_SECONDS = 5.0


async def answers(host: str, port: int, path: str) -> bool:
    """Whether GET `path` is answered with 200."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        return (await reader.readline()).split()[1:2] == [b"200"]
    except ConnectionError:
        return False
    finally:
        writer.close()


async def unreachable(url: str) -> str | None:
    """Why GET `url` is not answered with 200 within some seconds; None where it is."""
    loop = asyncio.get_running_loop()
    reason: asyncio.Future[str | None] = loop.create_future()

    def settle(text: str | None) -> None:
        if not reason.done():
            reason.set_result(text)

    def request() -> None:
        text = _fault_of(url)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, text)

    # A daemon, unlike the loop's own threads: looking up a name can hang, and would delay the end.
    threading.Thread(target=request, name="probe", daemon=True).start()
    try:
        async with asyncio.timeout(_EXCHANGE_SECONDS + 1):
            return await reason
    except TimeoutError:
        return f"no answer within {_EXCHANGE_SECONDS:.0f} seconds"


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: an exchange has no reason to send us elsewhere."""

    def redirect_request(self, *args: Any) -> None:
        return None


def _fault_of(url: str) -> str | None:
    request = urllib.request.Request(url, headers={"User-Agent": "quotes"})  # noqa: S310 # settings take http(s) only
    try:
        opener = urllib.request.build_opener(_Stay)
        with opener.open(request, timeout=_EXCHANGE_SECONDS) as response:
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    except urllib.error.URLError as error:
        return getattr(error.reason, "strerror", None) or str(error.reason)
    except OSError as error:
        return error.strerror or str(error)
    return None if status == HTTPStatus.OK else f"it answers {status}"
