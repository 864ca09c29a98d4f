"""The connection to Deribit's WebSocket, over which an index's prices come with their own times."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count

import aiohttp
import structlog

from quotes.market.sources import Tick
from workers.conditions import Condition
from workers.exchange import messages
from workers.exchange.channels import Channels
from workers.exchange.locks import Locked
from workers.exchange.messages import (
    FUTURE,
    PRICE,
    RANKING,
    STATE,
    IndexPrice,
    Lock,
    Message,
    Reply,
)
from workers.exchange.prices import Prices
from workers.exchange.rankings import Rankings

log = structlog.get_logger(__name__)

HEARTBEAT = 30  # seconds; the exchange allows 10 at least
TIMEOUT = 10.0  # seconds to connect, or to send
CLOSE_TIMEOUT = 1.0  # seconds
SILENCE = 15.0  # seconds without a message, of which each channel sends one a second
IDLE_SILENCE = 2.5 * HEARTBEAT  # seconds, where no channel has sent anything so far
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0  # seconds before connecting again, doubling
PAUSE = 0.35  # seconds between two subscriptions, of which the exchange takes 3.3 a second
CHECK = 5.0  # seconds between two looks for channels that have fallen silent


class LostError(Exception):
    """The connection is of no use any more. The message says why."""


class Socket:
    """One connection, opened again whenever it is lost."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, *, testnet: bool, now: Callable[[], datetime]
    ) -> None:
        self._http = http
        self._url = url
        self._testnet = testnet
        self._now = now
        self._lost = Condition(log, "exchange_socket_lost", now=_time)
        self._prices: defaultdict[str, Prices] = defaultdict(Prices)  # of all that are wanted
        self._channels = Channels()
        self.rankings = Rankings()
        self._sent: dict[int, tuple[datetime, str, Sequence[str]]] = {}  # without a reply so far
        self._reset()

    def _reset(self) -> None:
        """Forget what holds for one connection only."""
        self.locked: Locked | None = None  # None where it is not known
        # How far the exchange's clock was ahead of this host's, in the last reply.
        self.ahead: timedelta | None = None
        self._connected = False
        self._numbers = count(1)
        self._channels.reset(channels for _, _, channels in self._sent.values())
        self._sent.clear()
        for prices in self._prices.values():
            prices.wake()

    def follow(self, ticker: str) -> Prices:
        """The ticker's prices, from soon after the first call on."""
        self._channels.want(ticker)
        return self._prices[ticker]

    def keep(self, tickers: Collection[str]) -> None:
        """Follow these and no others; the exchange is sent that soon."""
        for ticker in tickers:
            self.follow(ticker)
        self._channels.keep(tickers)
        self.rankings.keep(tickers)
        for ticker in self._prices.keys() - tickers:
            del self._prices[ticker]

    def carries(self, ticker: str) -> bool:
        """Whether the channel of the ticker's prices is open."""
        return self._channels.carries(PRICE + ticker)

    def opens(self, ticker: str) -> bool:
        """Whether that channel is about to be open, or refused."""
        return self._connected and self._channels.awaits(PRICE + ticker)

    async def run(self) -> None:
        """Hold the connection; ends only by cancellation."""
        delay = FIRST_DELAY
        while True:
            try:
                await self._connect()
            except* (aiohttp.ClientError, OSError, LostError) as lost:
                error = lost.exceptions[0]
                reason = str(error) or type(error).__name__
                self._lost.persists(reason=reason, prices_by="HTTP")
            delay = FIRST_DELAY if self._channels.any_open else min(LONGEST_DELAY, 2 * delay)
            self._reset()
            await asyncio.sleep(delay * random.uniform(0.75, 1.25))  # noqa: S311  # no secret

    async def _connect(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            socket = await self._http.ws_connect(
                self._url,
                max_msg_size=messages.MAX_MESSAGE,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
            )
        self._connected = True
        async with socket, asyncio.TaskGroup() as tasks:  # the first that fails ends the other
            tasks.create_task(self._subscribe(socket), name="exchange-socket-subscribe")
            tasks.create_task(self._receive(socket), name="exchange-socket-receive")

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Request what is wanted and not subscribed to, now and whenever that changes."""
        await self._request(socket, "set_heartbeat", interval=HEARTBEAT)
        await self._request(socket, "subscribe", channels=[STATE])
        await self._request(socket, "status")
        while True:
            self._channels.wanted.clear()
            if left := self._channels.left():
                await self._request(socket, "unsubscribe", channels=left)
            while due := self._channels.due():
                await self._subscribe_to(socket, due)
                await asyncio.sleep(PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK):
                    await self._channels.wanted.wait()

    async def _subscribe_to(
        self, socket: aiohttp.ClientWebSocketResponse, channels: Sequence[str]
    ) -> None:
        if silent := self._channels.silent(channels):
            await self._request(socket, "unsubscribe", channels=silent)
        self._channels.subscribing(channels)
        await self._request(socket, "subscribe", channels, channels=channels)

    async def _request(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        method: str,
        subscribed: Sequence[str] = (),
        **params: object,
    ) -> None:
        number = next(self._numbers)
        self._sent[number] = self._now(), method, subscribed
        request = {"id": number, "method": f"public/{method}", "params": params}
        async with asyncio.timeout(TIMEOUT):
            await socket.send_str(json.dumps({"jsonrpc": "2.0", **request}))

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            seconds = SILENCE if self._channels.any_heard else IDLE_SILENCE
            try:
                async with asyncio.timeout(seconds):
                    message = await socket.receive()
            except TimeoutError:
                raise LostError(f"it was silent for {seconds:.0f} seconds") from None
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise LostError(f"it was closed ({message.type.name}, {message.data})")
            if (read := messages.read(message.data)) is not None:
                await self._handle(socket, read)

    async def _handle(self, socket: aiohttp.ClientWebSocketResponse, message: Message) -> None:
        match message:
            case IndexPrice():
                self._price(message)
            case messages.Ranking():
                self._ranking(message)
            case Lock():
                known = self.locked or Locked()
                self.locked = known.changed(message.ticker, locked=message.locked)
            case Reply():
                self._reply(message)
            case messages.TestRequest():
                await self._request(socket, "test")

    def _price(self, message: IndexPrice) -> None:
        """Keep it. One of no possible price or time only counts as a sign of life."""
        if not self._channels.hear(PRICE + message.ticker):
            return
        prices = self._prices[message.ticker]
        if message.price is None or message.observed_at is None or self.ahead is None:
            return
        if message.observed_at <= self.exchange_now() + FUTURE:
            tick = Tick(
                message.ticker,
                message.price,
                message.observed_at,
                exact_time=True,
                clock_ahead=self.ahead,
            )
            prices.add(tick, _time())

    def _ranking(self, message: messages.Ranking) -> None:
        if self._channels.hear(RANKING + message.ticker) and self.ahead is not None:
            self.rankings.add(message, _time(), self.exchange_now())

    def exchange_now(self) -> datetime:
        """The exchange's clock, as far as it is known."""
        return self._now() + (self.ahead or timedelta())

    def _reply(self, reply: Reply) -> None:
        sent_at, method, channels = self._sent.pop(reply.number, (None, "", ()))
        if reply.testnet is not None and reply.testnet is not self._testnet:
            raise LostError("it is of another environment, check QUOTES_DERIBIT_URL")
        if reply.code is not None:
            if self._channels.tolerates(channels, reply.code):
                return
            raise LostError(f"it answers public/{method} with the error {reply.code}")
        if sent_at is not None and reply.sent_at is not None:
            self.ahead = reply.sent_at - (sent_at + (self._now() - sent_at) / 2)
        if method == "status":
            self.locked = Locked.of(reply.result)
        elif channels:
            self._channels.subscribed(channels, reply.result)
            for prices in self._prices.values():
                prices.wake()  # whoever waits may find its channel refused
            if self._channels.any_open:
                self._lost.ended()


def _time() -> float:
    return asyncio.get_running_loop().time()
