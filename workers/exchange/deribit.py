"""The exchange client: index prices over Deribit's public HTTP API."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from math import inf
from urllib.parse import urlsplit

import aiohttp

from quotes import metrics
from quotes.market.sources import (
    TESTNET_HOST,
    Cause,
    Chart,
    Priority,
    Range,
    SourceError,
    Tick,
    host_of,
    is_loopback,
    name_of,
)
from workers.exchange.answers import (
    MAX_BODY,
    MAX_CHART,
    read_chart,
    read_names,
    read_status,
    read_tick,
)
from workers.exchange.locks import Locked
from workers.exchange.pacing import CONNECTIONS, MAX_TIMEOUT, Pace

# Requests have been seen to hang for ever; several timeouts fit into a minute. No request waits for
# a connection: the session may open as many as the pace allows in flight.
TIMEOUT = aiohttp.ClientTimeout(total=MAX_TIMEOUT, sock_connect=3, sock_read=5)
# Over a minute, so that the next poll reuses the connections. Deribit closes each after 15 minutes;
# aiohttp then retries once on a new one.
KEEP_ALIVE_SECONDS = 75


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_http(
    base_url: str | None = None, *, timeout: aiohttp.ClientTimeout = TIMEOUT
) -> aiohttp.ClientSession:
    """The process's only session; call it on the loop, and close the session.

    An egress proxy named in the environment is used, except where `base_url` is on loopback.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=CONNECTIONS + 1,  # the WebSocket
            keepalive_timeout=KEEP_ALIVE_SECONDS,
        ),
        timeout=timeout,
        headers={"User-Agent": f"quotes/{version('quotes')}", "Accept": "application/json"},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=base_url is None or not is_loopback(host_of(base_url)),
    )


class Deribit:
    """Implements `quotes.market.sources.Source` on a session that the caller opened.

    Instances that share a `pace` stay within the exchange's limits together.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        base_url: str,
        pace: Pace | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._http = http
        self._now = now
        self._pace = pace or Pace()
        self._base_url = base_url.rstrip("/")
        self._authority = urlsplit(base_url).netloc.rpartition("@")[2]  # without a password
        self._name = name_of(base_url)
        self._testnet = host_of(base_url) == TESTNET_HOST

    @property
    def name(self) -> str:
        return self._name

    async def tick(
        self,
        ticker: str,
        _minute: datetime | None = None,  # an answer is of the moment it is given
        /,
        *,
        priority: Priority = Priority.LIVE,
        within: float = inf,
    ) -> Tick:
        async with _counted("price"), self._turn(ticker, priority, within):
            sent_at = self._now()
            status, body = await self._request("get_index_price", MAX_BODY, index_name=ticker)
            between = sent_at + (self._now() - sent_at) / 2
            tick = read_tick(ticker, status, body, testnet=self._testnet)
            return replace(tick, clock_ahead=tick.observed_at - between)

    async def locked(self) -> Locked:
        """Which indexes are locked. Raises SourceError if that cannot be known."""
        async with _counted("status"), self._turn("status", Priority.LIVE, inf):
            status, body = await self._request("status", MAX_BODY)
            return Locked.of(read_status(status, body, testnet=self._testnet))

    async def index_names(self) -> frozenset[str]:
        async with _counted("names"), self._turn("indexes", Priority.LIVE, inf):
            status, body = await self._request("get_index_price_names", MAX_BODY)
            return read_names(status, body, testnet=self._testnet)

    async def index_chart(
        self, ticker: str, span: Range, *, priority: Priority = Priority.BACKFILL
    ) -> Chart:
        chart = {"index_name": ticker, "range": span.value}
        async with _counted("chart"), self._turn(ticker, priority, inf):
            status, body = await self._request("get_index_chart_data", MAX_CHART, **chart)
            return read_chart(ticker, status, body, testnet=self._testnet)

    async def _request(self, method: str, max_bytes: int, **params: str) -> tuple[int, bytes]:
        url = f"{self._base_url}/public/{method}"
        async with self._http.get(url, params=params, allow_redirects=False) as response:
            return response.status, await _bounded(response.content, max_bytes)

    @asynccontextmanager
    async def _turn(self, ticker: str, priority: Priority, within: float) -> AsyncIterator[None]:
        """Wait for the request's turn; translates every failure into a SourceError."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        async with AsyncExitStack() as place:
            try:
                async with asyncio.timeout(None if within == inf else within):
                    await place.enter_async_context(self._pace.turn(priority))
            except TimeoutError as error:
                message = "its turn to be requested did not come before the minute was over"
                raise self._error(Cause.NOT_ASKED, ticker, message) from error
            began = loop.time()
            limit = min(self._pace.timeout(priority), until - began)
            try:
                async with asyncio.timeout(limit):
                    yield
            except TimeoutError as error:
                message = f"the exchange did not answer within {loop.time() - began:.1f} seconds"
                raise self._error(Cause.TIMEOUT, ticker, message) from error
            except (aiohttp.ClientConnectionError, aiohttp.ClientHttpProxyError, OSError) as error:
                message = f"the exchange cannot be reached ({_reason(error)})"
                raise self._error(Cause.UNREACHABLE, ticker, message) from error
            except aiohttp.ClientError as error:  # truncated, badly compressed, or not HTTP
                message = "the exchange answered something unreadable"
                raise self._error(Cause.BAD_ANSWER, ticker, message) from error
            except SourceError as error:
                if error.cause is Cause.RATE_LIMITED:
                    self._pace.limited()
                raise
            self._pace.answered(loop.time() - began)
            metrics.EXCHANGE_ANSWERS.observe(loop.time() - began)

    def _error(self, cause: Cause, ticker: str, message: str) -> SourceError:
        """The message is shown to clients; only the operator's log names the host."""
        return SourceError(cause, f"{ticker}: {message}.", detail=f"at {self._authority}")


@asynccontextmanager
async def _counted(kind: str) -> AsyncIterator[None]:
    """Count a request by what becomes of it, unless it is given up."""
    try:
        yield
    except SourceError as error:
        metrics.EXCHANGE_REQUESTS.labels(kind, error.cause.value).inc()
        raise
    metrics.EXCHANGE_REQUESTS.labels(kind, "OK").inc()


def _reason(error: Exception) -> str:
    """A reason that does not name the host, as the libraries' messages do."""
    match error:
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answers {error.status}"
        case aiohttp.ClientConnectorDNSError():
            return "its name is not found"
        case aiohttp.ClientSSLError():
            return "no secure connection can be made"
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection"
        case OSError(errno=int(number)):
            return os.strerror(number)
        case _:
            return "no connection can be made"


async def _bounded(content: aiohttp.StreamReader, max_bytes: int) -> bytes:
    """All of it, or a little over `max_bytes`: decompressed in pieces, so a bomb stays small."""
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > max_bytes:
            break
    return bytes(body)
