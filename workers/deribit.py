"""The exchange client: index prices over Deribit's public HTTP API."""

from importlib.metadata import version
from urllib.parse import urlsplit

import aiohttp

from quotes.market.sources import (
    TESTNET_HOST,
    Cause,
    Point,
    Range,
    SourceError,
    Tick,
    host_of,
    is_loopback,
    name_of,
)
from workers.deribit_answers import MAX_BODY, MAX_CHART, read_chart, read_tick, words

# Calls have been seen to hang for ever; the whole of one fits several times into its minute.
# `connect` stays open: it would count the wait for a connection, so that tickers which hang would
# fail the ones that queue behind them.
TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=3, sock_read=5)
CONNECTIONS = 4  # of the 32 an address may hold
# Over a minute, so that one poll's connection serves the next. Deribit ends each after 15 minutes;
# aiohttp then asks once more on a new one.
KEEP_ALIVE_SECONDS = 75


def open_http(
    base_url: str | None = None, *, timeout: aiohttp.ClientTimeout = TIMEOUT
) -> aiohttp.ClientSession:
    """The one session of a process, opened on its loop and closed by the caller.

    An egress proxy named in the environment is used, except where `base_url` is on loopback.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
        timeout=timeout,
        headers={"User-Agent": f"quotes/{version('quotes')}", "Accept": "application/json"},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=base_url is None or not is_loopback(host_of(base_url)),
    )


class Deribit:
    """Implements `quotes.market.sources.Source` on a session that the caller opened."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._authority = urlsplit(base_url).netloc.rpartition("@")[2]  # without a password
        self._name = name_of(base_url)
        self._testnet = host_of(base_url) == TESTNET_HOST

    @property
    def name(self) -> str:
        return self._name

    async def tick(self, ticker: str) -> Tick:
        status, body = await self._ask(ticker, "get_index_price", MAX_BODY, index_name=ticker)
        return read_tick(ticker, status, body, testnet=self._testnet)

    async def index_chart(self, ticker: str, span: Range) -> list[Point]:
        asked = {"index_name": ticker, "range": span.value}
        status, body = await self._ask(ticker, "get_index_chart_data", MAX_CHART, **asked)
        return read_chart(ticker, status, body, testnet=self._testnet)

    async def _ask(self, ticker: str, method: str, most: int, **params: str) -> tuple[int, bytes]:
        url = f"{self._base_url}/public/{method}"
        try:
            async with self._http.get(url, params=params, allow_redirects=False) as response:
                return response.status, await _bounded(response.content, most)
        except TimeoutError as error:
            message = f"{ticker}: {self._authority} did not answer in time."
            raise SourceError(Cause.TIMEOUT, message) from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            message = f"{ticker}: {self._authority} cannot be reached ({words(str(error))})."
            raise SourceError(Cause.UNREACHABLE, message) from error
        except aiohttp.ClientHttpProxyError as error:
            refused = f"the proxy answers {error.status}"  # its own text would name the whole URL
            message = f"{ticker}: {self._authority} cannot be reached ({refused})."
            raise SourceError(Cause.UNREACHABLE, message) from error
        except aiohttp.ClientError as error:  # broken off, badly packed, or no HTTP at all
            message = f"{ticker}: {self._authority} answered something unreadable."
            raise SourceError(Cause.BAD_ANSWER, message) from error


async def _bounded(content: aiohttp.StreamReader, most: int) -> bytes:
    """All of it, or a little over `most` bytes: unpacked piece by piece, so a bomb stays small."""
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > most:
            break
    return bytes(body)
