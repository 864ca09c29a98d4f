"""Minutes collected over the exchange's WebSocket, whatever happens to that meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal

import aiohttp
import pytest
from recorded import REPLAYED, recorded
from rows import log, minute, standing, until, wait

from quotes.database.log import store
from quotes.database.models import Failure, Quote
from quotes.database.sessions import Sessions
from workers.collecting import Collector
from workers.demo import socket as stand_in
from workers.demo.exchange import Exchange, Fault, serve
from workers.demo.socket import STATE
from workers.exchange import channels, socket, streamed
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace
from workers.exchange.streamed import StreamedDeribit, open_streamed

LAST = "deribit_price_ranking.eth_usd"  # of the channels that are subscribed to
BOTH = ["btc_usd", "eth_usd"]
FIRST = {"btc_usd": "100.01", "eth_usd": "10.01"}
SECOND = {"btc_usd": "200.02", "eth_usd": "20.02"}
THIRD = {"btc_usd": "300.03", "eth_usd": "30.03"}
TOO_MANY = '{"jsonrpc":"2.0","id":3,"error":{"code":10028,"message":"too_many_requests"}}'


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "WAIT", 0.4)
    monkeypatch.setattr(socket, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(socket, "LONGEST_DELAY", 0.1)
    monkeypatch.setattr(socket, "CHECK", 0.05)
    monkeypatch.setattr(socket, "PAUSE", 0.05)


Happens = Callable[["Minutes"], Awaitable[None]]


class Minutes:
    """The stand-in, whose clock stands in one minute after another, and their collection."""

    def __init__(self, exchange: Exchange, source: StreamedDeribit, sessions: Sessions) -> None:
        self.exchange = exchange
        self.source = source
        self.sessions = sessions
        self._collector = Collector(source, sessions)

    async def begin(self, at: datetime, prices: Mapping[str, str]) -> None:
        """Go on to the minute; a socket that is open knows the exchange's new clock."""
        self.exchange.clock = standing(at)
        self.exchange.prices |= prices
        for connection in self.exchange.sockets.open:
            await connection.request_test()
            await until(lambda: self.source._socket.exchange_now() >= at)

    async def collect(self, at: datetime) -> dict[str, Quote]:
        """The minute's quotes, of each ticker that got one."""
        await self._collector.collect(at, BOTH)
        return {each.ticker: each for each in await log(self.sessions) if each.minute == at}

    @asynccontextmanager
    async def collecting(self, at: datetime) -> AsyncIterator[None]:
        """Meanwhile the minute is collected; what is missing after that stays so."""
        collector = Collector(self.source, self.sessions)
        collection = asyncio.create_task(collector.collect(at, BOTH))
        yield
        collector.stop()
        await collection

    def carry(self, ticker: str, at: datetime) -> bool:
        """Whether the socket has brought what the exchange has at that minute."""
        first = self.source._socket.follow(ticker).first(at)
        return first is not None and first.observed_at <= self.exchange.clock()

    async def reopened(self) -> None:
        """Wait for a second connection, and for the prices that it carries."""
        await until(lambda: self.exchange.sockets.opened > 1)
        await until(lambda: all(map(self.source._socket.carries, BOTH)))

    async def failure(self, ticker: str, at: datetime) -> Failure:
        async def look() -> list[Failure]:
            async with self.sessions() as session:
                failures = await store.last_failures(session, [ticker])
            return [each for each in failures if each.minute == at]

        (found,) = await wait(look, bool)
        return found


@pytest.fixture
async def minutes(sessions: Sessions) -> AsyncIterator[Minutes]:
    """In the minute before noon, whose prices have come by the socket."""
    exchange = Exchange(clock=standing(minute(-1)), sockets=True, every=0.02)
    exchange.prices |= FIRST
    async with (
        serve(exchange) as url,
        open_http(url) as http,
        open_streamed(http, url, Deribit(http, url, Pace(rate=1_000))) as source,
    ):
        for ticker in BOTH:
            prices = source._socket.follow(ticker)
            await until(lambda: prices.newest is not None)  # noqa: B023  # within this round
        (connection,) = exchange.sockets.open
        await until(lambda: LAST in connection.channels)
        yield Minutes(exchange, source, sessions)


def prices_of(quotes: Mapping[str, Quote]) -> dict[str, str]:
    return {ticker: str(quote.price) for ticker, quote in quotes.items()}


@pytest.mark.parametrize("notation", ["f", "e"])
async def test_what_is_kept_of_replayed_minutes_is_what_the_socket_sent_digit_for_digit(
    minutes: Minutes, notation: str
) -> None:
    files = {ticker: recorded(ticker) for ticker in BOTH}
    (connection,) = minutes.exchange.sockets.open
    for number in range(REPLAYED):
        at = datetime.fromisoformat(files["btc_usd"][number][0])
        sent = {ticker: file[number][1] for ticker, file in files.items()}
        await minutes.begin(
            at, {name: f"{Decimal(text):{notation}}" for name, text in sent.items()}
        )
        for ticker, offset, price in (("btc_usd", 30, "1"), ("eth_usd", -30, "2")):
            moment = int((at + timedelta(seconds=offset)).timestamp() * 1_000)
            data = f'{{"timestamp":{moment},"price":{price},"index_name":"{ticker}"}}'
            for _ in range(2):  # of a later time, or an earlier one, and twice
                await connection.notify(f"deribit_price_index.{ticker}", data)
        await until(lambda: all(minutes.carry(name, at) for name in BOTH))  # noqa: B023

        await minutes.collect(at)

    for ticker, file in files.items():
        kept = [each for each in await log(minutes.sessions) if each.ticker == ticker]
        assert [(f"{each.minute:%Y-%m-%dT%H:%M:%SZ}", str(each.price)) for each in kept] == file
        assert {each.observed_at - each.minute for each in kept} == {timedelta(seconds=2)}
    assert minutes.exchange.price_requests.total() == 0


async def closed(minutes: Minutes) -> None:
    await minutes.exchange.sockets.close()


async def closed_for_good(minutes: Minutes) -> None:
    minutes.exchange.sockets.allowed = False
    await minutes.exchange.sockets.close()


async def silent(minutes: Minutes) -> None:
    for connection in minutes.exchange.sockets.open:
        connection.channels.clear()


async def one_channel_silent(minutes: Minutes) -> None:
    minutes.exchange.faults["btc_usd"] = Fault.SILENT


async def one_channel_refused(minutes: Minutes) -> None:
    minutes.exchange.faults["btc_usd"] = Fault.UNLISTED
    await minutes.exchange.sockets.close()


async def too_many_requests(minutes: Minutes) -> None:
    (connection,) = minutes.exchange.sockets.open
    await connection.send(TOO_MANY)
    await connection.close()


async def rankings_refused(minutes: Minutes) -> None:
    minutes.exchange.refused.add("deribit_price_ranking")
    await minutes.exchange.sockets.close()


@pytest.mark.parametrize(
    "happens",
    [
        closed,
        closed_for_good,
        silent,
        one_channel_silent,
        one_channel_refused,
        too_many_requests,
        rankings_refused,
    ],
)
async def test_whatever_happens_to_the_socket_a_minute_has_its_own_prices(
    minutes: Minutes, happens: Happens
) -> None:
    assert prices_of(await minutes.collect(minute(-1))) == FIRST

    await happens(minutes)
    await minutes.begin(minute(0), SECOND)
    assert prices_of(await minutes.collect(minute(0))) == SECOND

    await minutes.begin(minute(1), THIRD)
    assert prices_of(await minutes.collect(minute(1))) == THIRD


@pytest.mark.parametrize("happens", [closed, silent, too_many_requests])
async def test_a_socket_that_is_lost_is_back_in_the_next_minute(
    minutes: Minutes, monkeypatch: pytest.MonkeyPatch, happens: Happens
) -> None:
    monkeypatch.setattr(socket, "SILENCE", 0.3)
    await happens(minutes)
    await minutes.reopened()
    minutes.exchange.price_requests.clear()

    await minutes.begin(minute(1), SECOND)

    assert prices_of(await minutes.collect(minute(1))) == SECOND
    assert minutes.exchange.price_requests.total() == 0


async def test_a_silent_channel_is_subscribed_to_again_and_the_other_goes_on(
    minutes: Minutes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "SILENCE", 0.3)
    (connection,) = minutes.exchange.sockets.open
    connection.channels.remove("deribit_price_index.btc_usd")
    await until(lambda: "deribit_price_index.btc_usd" in connection.channels)

    await minutes.begin(minute(1), SECOND)

    assert prices_of(await minutes.collect(minute(1))) == SECOND
    assert minutes.exchange.price_requests.total() == 0


async def test_a_price_that_has_stopped_is_kept_for_no_later_minute(minutes: Minutes) -> None:
    minutes.exchange.faults["btc_usd"] = Fault.FROZEN
    await until(lambda: "btc_usd" in minutes.exchange._frozen)
    await minutes.begin(minute(1), {"eth_usd": SECOND["eth_usd"]})

    async with minutes.collecting(minute(1)):
        assert (await minutes.failure("btc_usd", minute(1))).cause == "FROZEN"

    found = [each for each in await log(minutes.sessions) if each.minute == minute(1)]
    assert prices_of({each.ticker: each for each in found}) == {"eth_usd": "20.02"}


async def test_after_maintenance_prices_come_by_the_socket_again(minutes: Minutes) -> None:
    exchange = minutes.exchange
    (connection,) = exchange.sockets.open
    await connection.notify(STATE, '{"maintenance":true}')
    exchange.faults |= dict.fromkeys(BOTH, Fault.MAINTENANCE)
    await closed_for_good(minutes)
    await minutes.begin(minute(1), SECOND)

    async with minutes.collecting(minute(1)):
        for ticker in BOTH:
            assert (await minutes.failure(ticker, minute(1))).cause == "MAINTENANCE"
    assert await log(minutes.sessions) == []

    exchange.faults.clear()
    exchange.sockets.allowed = True
    await until(lambda: all(map(minutes.source._socket.carries, BOTH)))
    (connection,) = exchange.sockets.open
    await connection.notify(STATE, '{"maintenance":false}')
    exchange.price_requests.clear()
    await minutes.begin(minute(2), FIRST)
    assert prices_of(await minutes.collect(minute(2))) == FIRST
    assert exchange.price_requests.total() == 0


async def test_only_a_client_that_answers_test_requests_stays_connected(
    minutes: Minutes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in, "SHORTEST_HEARTBEAT", 0.2)
    monkeypatch.setattr(socket, "HEARTBEAT", 0)
    await minutes.exchange.sockets.close()  # the next one has the shorter heartbeat
    await minutes.reopened()
    (answering,) = minutes.exchange.sockets.open
    url, request = minutes.source._socket._url, {"id": 1, "method": "public/set_heartbeat"}

    async with (
        aiohttp.ClientSession() as http,
        asyncio.timeout(60),
        http.ws_connect(url) as silent,
    ):
        await silent.send_json(request | {"params": {"interval": 0}})
        while (await silent.receive()).type is aiohttp.WSMsgType.TEXT:
            pass

    await until(lambda: answering.tests > 1)
    assert minutes.exchange.sockets.open == [answering]
