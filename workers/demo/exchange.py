"""A stand-in for the exchange, with made-up prices: `python -m workers.demo --port 8081`."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from aiohttp import hdrs, web

from workers.demo import market, names
from workers.demo.controls import Controls
from workers.demo.faults import (
    ERRORS,
    RESPONSES,
    UNKNOWN_INDEX,
    Fault,
    Reply,
    bad_param,
    compact,
    error_reply,
    result,
)
from workers.demo.indexes import Indexes
from workers.demo.socket import STATE, Sockets

__all__ = ["Exchange", "Fault", "serve"]

LOOPBACK = "127.0.0.1"
ROOT = "A stand-in for the exchange, for trials and tests: every price here is made up.\n"
HEADERS = {  # as in a recorded answer
    "Access-Control-Allow-Headers": (
        "Authorization,User-Agent,Range,X-Requested-With,Content-Type,Partner"
    ),
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": "no-store",
    "Strict-Transport-Security": "max-age=15768000",
    "Vary": "Origin,Authorization,Partner, accept-encoding",
    "X-Frame-Options": "SAMEORIGIN",
}
POLL_SECONDS = 0.02  # how soon a lifted fault is noticed
STOP_SECONDS = 1.0  # for requests in progress when the exchange stops

log = structlog.get_logger()


def _now() -> datetime:
    return datetime.now(UTC)


class Exchange(Indexes):
    """Its indexes over HTTP; with `sockets` over a WebSocket, too.

    There each channel sends a message `every` so many seconds. `charts` pins an index's charts, of
    every range, by their JSON text, and `answers` a method's result. `requests` counts those over
    HTTP by their methods, those for a price in `price_requests` by their index.
    """

    def __init__(  # noqa: PLR0913  # what a trial or a test sets
        self,
        *,
        seed: int = 1,
        clock: Callable[[], datetime] = _now,
        latency: float = 0.0,
        slow_seconds: float = 3.0,
        sockets: bool = False,
        every: float = 1.0,
    ) -> None:
        super().__init__(seed, clock)
        self.latency = latency  # seconds, of each answer over HTTP
        self.slow_seconds = slow_seconds
        self.charts: dict[str, str] = {}
        self.answers: dict[str, str] = {}
        self.requests: Counter[str] = Counter()
        self.price_requests: Counter[str] = Counter()
        self.every = every
        self.sockets = Sockets(self, allowed=sockets)
        self._methods: dict[str, Callable[[Mapping[str, str]], Reply]] = {
            "get_index_price": self._index_price,
            "get_index_chart_data": self._chart,
            "get_index_price_names": lambda query: names.every(self.listed(), query),
            "get_supported_index_names": lambda query: names.supported(self.listed(), query),
            "get_time": lambda _: result(str(market.micros(self.clock()) // 1_000)),
            "status": lambda _: result(self._status()),
            "test": lambda _: result('{"version":"1.2.26"}'),
        }

    def app(self) -> web.Application:
        app = web.Application()
        app.on_response_prepare.append(_sign)
        app.add_routes(
            [
                web.get("/", _root),
                web.get("/api/v2/public/{method}", self._answer),
                web.get("/ws/api/v2", self.sockets.handle),
                *Controls(self).routes(),
            ]
        )
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        index = request.query.get("index_name", "")
        method = request.match_info["method"]
        self.requests[method] += 1
        if method == "get_index_price":
            self.price_requests[index] += 1
        await self._hold(index)
        fault = self.faults.get(index)
        response = RESPONSES[fault](request) if fault in RESPONSES else self._reply(request, fault)
        response.headers.update(HEADERS)
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            response.enable_compression(web.ContentCoding.gzip)
        return response

    async def _hold(self, index: str) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.faults.get(index) is Fault.SLOW:
            await asyncio.sleep(self.slow_seconds)
        while self.faults.get(index) is Fault.TIMEOUT:  # noqa: ASYNC110  # a dict has no event to wait for
            await asyncio.sleep(POLL_SECONDS)

    def _reply(self, request: web.Request, fault: Fault | None) -> web.Response:
        us_in = self._micros()
        if fault in ERRORS:
            status, member = ERRORS[fault]
        else:
            status, member = self.reply(request.match_info["method"], request.query)
        text = self._envelope(member, us_in, testnet=fault is Fault.WRONG_TESTNET)
        return web.Response(status=status, text=text, content_type="application/json")

    def reply(self, method: str, params: Mapping[str, str]) -> Reply:
        if method in self.answers:
            return result(self.answers[method])
        known = self._methods.get(method)
        return known(params) if known else error_reply(-32601, "Method not found")

    def envelope(self, member: str, number: object = None) -> str:
        return self._envelope(f'"id":{compact(number)},{member}', self._micros(), testnet=False)

    def _envelope(self, member: str, us_in: int, *, testnet: bool) -> str:
        us_out = self._micros()
        return (
            f'{{"jsonrpc":"2.0",{member},"usIn":{us_in},"usOut":{us_out},'
            f'"usDiff":{us_out - us_in},"testnet":{compact(testnet)}}}'
        )

    def _micros(self) -> int:
        return market.micros(self.clock())

    def accepts(self, channel: str) -> bool:
        return channel == STATE or self.publishes(channel)

    def locked(self) -> set[str]:
        return {index for index, fault in self.faults.items() if fault is Fault.LOCKED}

    def _status(self) -> str:
        """`locked` is a string, as recorded."""
        if not (locked := self.locked()):
            return '{"locked":"false"}'
        return f'{{"locked":"partial","locked_indices":{compact(sorted(locked))}}}'

    def _index_price(self, query: Mapping[str, str]) -> Reply:
        index = query.get("index_name", "")
        if index not in self.known():
            return UNKNOWN_INDEX
        text = self.price_text(index)
        return result(f'{{"index_price":{text},"estimated_delivery_price":{text}}}')

    def _chart(self, query: Mapping[str, str]) -> Reply:
        index, name = query.get("index_name", ""), query.get("range", "")
        if index in self.charts:
            return result(self.charts[index])
        if index not in market.INDEXES:
            return UNKNOWN_INDEX
        if name not in market.CHARTS:
            return bad_param("range")
        points = market.chart(index, name, self.clock(), self.seed)
        return result("[" + ",".join(f"[{ms},{market.text(price)}]" for ms, price in points) + "]")


@asynccontextmanager
async def serve(exchange: Exchange, port: int = 0, *, host: str = LOOPBACK) -> AsyncIterator[str]:
    """The base URL of its API; port 0 is any free one. Raises OSError if the port is taken."""
    runner = web.AppRunner(
        exchange.app(),
        access_log=None,
        handler_cancellation=True,  # a delayed request ends when its client disconnects
        shutdown_timeout=STOP_SECONDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}/api/v2"
    finally:
        await runner.cleanup()


async def _root(request: web.Request) -> web.Response:
    return web.Response(text=ROOT)


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "quotes-demo"
