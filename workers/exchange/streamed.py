"""Index prices as Deribit makes them, by WebSocket, and by HTTP those that it does not bring."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from math import inf
from urllib.parse import urlsplit

import aiohttp

from quotes import metrics
from quotes.background import background
from quotes.market.sources import (
    TESTNET_HOST,
    Cause,
    Chart,
    Priority,
    Range,
    Retry,
    SourceError,
    Tick,
    host_of,
)
from workers.exchange.deribit import Deribit, utc_now
from workers.exchange.locks import Locked
from workers.exchange.prices import Prices
from workers.exchange.rankings import Rankings
from workers.exchange.socket import Socket

WAIT = 2.0  # seconds for a minute's first price, before it is requested by HTTP
HEARD = 5.0  # seconds; a channel that brought a price within them is alive
RESTS = timedelta(minutes=1)  # without a new price, after which the next is not awaited eagerly
STATUS_AGE = 30.0  # seconds for which an answer about locked indexes holds


class StreamedDeribit:
    """Implements `quotes.market.sources.Source`. Built and run by `open_streamed`."""

    def __init__(self, requests: Deribit, socket: Socket) -> None:
        self._requests = requests
        self._socket = socket
        self._status = Locked()
        self._status_at = float("-inf")
        self._one_request = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._requests.name

    @property
    def rankings(self) -> Rankings:
        """What the indexes are made of."""
        return self._socket.rankings

    async def tick(
        self,
        ticker: str,
        minute: datetime,
        /,
        *,
        priority: Priority = Priority.LIVE,
        within: float = inf,
    ) -> Tick:
        until = _time() + within
        prices = self._socket.follow(ticker)
        if ticker in await self._locked():
            message = f"{ticker}: the exchange has locked this index."
            raise SourceError(Cause.LOCKED, message, retry=Retry.SLOWLY)
        if (tick := await self._streamed(ticker, minute, min(WAIT, within))) is not None:
            metrics.STREAMED_PRICES.inc()
            return tick
        within = max(0.0, until - _time())
        tick = await self._requests.tick(ticker, priority=priority, within=within)
        if (first := prices.first(minute)) is not None:  # it has come meanwhile
            return first
        # An answer has no time of its price: an unchanged one may be as old as the channel's last.
        newest = prices.newest
        if newest is not None and newest.price == tick.price and self._socket.carries(ticker):
            raise self._frozen(ticker, newest)
        return tick

    def keep(self, tickers: Collection[str]) -> None:
        """Follow the channels of these from now on, and of no others."""
        self._socket.keep(tickers)

    async def index_names(self) -> frozenset[str]:
        return await self._requests.index_names()

    async def index_chart(
        self, ticker: str, span: Range, *, priority: Priority = Priority.BACKFILL
    ) -> Chart:
        return await self._requests.index_chart(ticker, span, priority=priority)

    async def _streamed(self, ticker: str, minute: datetime, seconds: float) -> Tick | None:
        """The minute's first price; None if the channel does not open, or is silent."""
        prices = self._socket.follow(ticker)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._may_bring(ticker) and prices.first(minute) is None:
                    await prices.changed()
        if (tick := prices.first(minute)) is not None:
            return tick
        newest = prices.newest
        if newest is None or not self._socket.carries(ticker) or not _is_alive(prices):
            return None
        if self._socket.exchange_now() < minute:
            return newest  # whose time shows how early it is
        raise self._frozen(ticker, newest)

    def _frozen(self, ticker: str, newest: Tick) -> SourceError:
        """It is looked for again soon at first; of an index that rests for hours, less often."""
        since = f"{newest.observed_at:%Y-%m-%d %H:%M:%S} UTC"
        rests = self._socket.exchange_now() - newest.observed_at > RESTS
        return SourceError(
            Cause.FROZEN,
            f"{ticker}: the exchange has made no new price since {since}.",
            retry=Retry.SLOWLY if rests else Retry.SOON,
        )

    def _may_bring(self, ticker: str) -> bool:
        return self._socket.carries(ticker) or self._socket.opens(ticker)

    async def _locked(self) -> Locked:
        """As the socket says, else as the last answer to HTTP does; nothing before the first."""
        if self._socket.locked is not None:
            return self._socket.locked
        async with self._one_request:
            if _time() - self._status_at > STATUS_AGE:
                self._status_at = _time()
                # Else what was known stays, as a locked index may still be answered with a price;
                # the request for that names the cause.
                with suppress(SourceError):
                    self._status = await self._requests.locked()
        return self._status


def _is_alive(prices: Prices) -> bool:
    return _time() - prices.added_at <= HEARD


def _time() -> float:
    return asyncio.get_running_loop().time()


def socket_url(base_url: str) -> str:
    """The WebSocket of the API at `base_url`, as https://www.deribit.com/api/v2."""
    parts = urlsplit(base_url.rstrip("/"))
    scheme = {"https": "wss", "http": "ws"}[parts.scheme]
    return parts._replace(scheme=scheme, path=f"/ws{parts.path}").geturl()


@asynccontextmanager
async def open_streamed(
    http: aiohttp.ClientSession, base_url: str, requests: Deribit
) -> AsyncIterator[StreamedDeribit]:
    """A source whose connection is held until the block ends."""
    testnet = host_of(base_url) == TESTNET_HOST
    socket = Socket(http, socket_url(base_url), testnet=testnet, now=utc_now)
    # Should it fail by a fault of ours, the prices come by HTTP from then on.
    async with background(socket.run(), "exchange-socket"):
        yield StreamedDeribit(requests, socket)
