"""Prices over the exchange's WebSocket: at their own time, and never a stale one as a fresh one."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import structlog
from rows import until
from streaming import MINUTE, Clock, opened

from quotes.market.sources import Cause, SourceError, Tick
from workers.demo.exchange import Exchange, Fault
from workers.exchange import channels, socket, streamed
from workers.exchange.streamed import StreamedDeribit, socket_url

CHANNEL, RANKING = "deribit_price_index.btc_usd", "deribit_price_ranking.btc_usd"


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(clock=Clock(10), sockets=True, every=0.02)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "WAIT", 0.4)
    monkeypatch.setattr(socket, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(socket, "LONGEST_DELAY", 0.1)
    monkeypatch.setattr(socket, "CHECK", 0.05)
    monkeypatch.setattr(channels, "SILENCE", 60.0)


@pytest.fixture
async def source(exchange: Exchange) -> AsyncIterator[StreamedDeribit]:
    """One that has the prices of btc_usd by its socket already."""
    exchange.prices["btc_usd"] = "80814.47"
    async with opened(exchange) as source:
        await carried(source, "btc_usd")
        exchange.price_requests.clear()
        yield source


async def carried(source: StreamedDeribit, *tickers: str) -> None:
    for ticker in tickers:
        prices = source._socket.follow(ticker)
        await until(lambda: prices.newest is not None)  # noqa: B023  # within this round


def messages(*data: tuple[int, str]) -> list[str]:
    """Each price's data, with the seconds after MINUTE as its own time."""
    start = int(MINUTE.timestamp())
    return [
        f'{{"timestamp":{(start + seconds) * 1_000},"price":{price},"index_name":"btc_usd"}}'
        for seconds, price in data
    ]


async def cause_of(source: StreamedDeribit, ticker: str = "btc_usd") -> Cause:
    with pytest.raises(SourceError) as failed:
        await source.tick(ticker, MINUTE)
    return failed.value.cause


async def test_a_price_has_the_digits_and_the_time_that_the_exchange_gives_it(
    exchange: Exchange, source: StreamedDeribit
) -> None:
    tick = await source.tick("btc_usd", MINUTE)

    assert tick.price == Decimal("80814.47")
    assert timedelta(seconds=10) <= tick.observed_at - MINUTE < timedelta(seconds=40)
    assert tick.exact_time
    assert abs(tick.clock_ahead - (exchange.clock() - datetime.now(UTC))) < timedelta(seconds=1)
    assert exchange.price_requests.total() == 0


@pytest.mark.parametrize("text", ["1.6433e-4", "101848", "0.1", "80814.470000000001"])
async def test_digits_are_kept_as_they_are_written(
    exchange: Exchange, source: StreamedDeribit, text: str
) -> None:
    exchange.prices["eth_usd"] = text
    await carried(source, "eth_usd")

    assert (await source.tick("eth_usd", MINUTE)).price == Decimal(text)


async def test_the_first_price_of_a_minute_is_taken_in_whatever_order_they_come(
    exchange: Exchange, source: StreamedDeribit
) -> None:
    exchange.faults["btc_usd"] = Fault.SILENT
    (connection,) = exchange.sockets.open
    for data in messages((-3, "1"), (7, "7"), (7, "7"), (5, "5"), (5, "5"), (9, "9"), (-1, "2")):
        await connection.notify(CHANNEL, data)
    await carried(source, "eth_usd")  # whose messages come after these

    tick = await source.tick("btc_usd", MINUTE)

    assert (tick.price, tick.observed_at) == (Decimal(5), MINUTE + timedelta(seconds=5))
    before = await source.tick("btc_usd", MINUTE - timedelta(minutes=1))
    assert before.price == Decimal(1)


async def test_a_price_from_the_future_is_not_kept_for_its_minute(
    exchange: Exchange, source: StreamedDeribit
) -> None:
    (connection,) = exchange.sockets.open
    for data in messages((3_600, "1")):
        await connection.notify(CHANNEL, data)
    await carried(source, "eth_usd")

    later = MINUTE + timedelta(hours=1)
    assert (await source.tick("btc_usd", later)).observed_at < later  # the current one


async def test_a_minute_s_first_price_is_waited_for(
    exchange: Exchange, source: StreamedDeribit
) -> None:
    exchange.faults["btc_usd"] = Fault.SILENT
    waiting = asyncio.create_task(source.tick("btc_usd", MINUTE - timedelta(minutes=5)))
    await asyncio.sleep(0)
    (connection,) = exchange.sockets.open
    for data in messages((-299, "3")):
        await connection.notify(CHANNEL, data)

    assert (await waiting).price == Decimal(3)


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.UNLISTED])
async def test_a_channel_that_brings_nothing_costs_only_its_own_ticker_a_request(
    exchange: Exchange, source: StreamedDeribit, fault: Fault
) -> None:
    exchange.prices["eth_usd"] = "3000.5"
    exchange.faults["eth_usd"] = fault

    both = await asyncio.gather(*(source.tick(each, MINUTE) for each in ("btc_usd", "eth_usd")))

    assert [each.price for each in both] == [Decimal("80814.47"), Decimal("3000.5")]
    assert [each.exact_time for each in both] == [True, False]
    assert exchange.price_requests == {"eth_usd": 1}


async def test_a_silent_channel_s_unchanged_price_may_be_an_old_one(
    exchange: Exchange, source: StreamedDeribit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "HEARD", -1.0)  # it has been silent for longer
    exchange.faults["btc_usd"] = Fault.SILENT
    later = MINUTE + timedelta(minutes=1)
    exchange.clock = lambda: later + timedelta(seconds=1)

    with pytest.raises(SourceError, match="no new price since 2026-09-20 21:17:1") as failed:
        await source.tick("btc_usd", later)
    assert failed.value.cause is Cause.FROZEN

    exchange.prices["btc_usd"] = "80814.48"
    assert (await source.tick("btc_usd", later)).price == Decimal("80814.48")


async def test_a_price_whose_time_does_not_move_is_frozen_until_it_moves(
    exchange: Exchange, source: StreamedDeribit
) -> None:
    exchange.faults["btc_usd"] = Fault.FROZEN
    await until(lambda: "btc_usd" in exchange._frozen)
    later = MINUTE + timedelta(minutes=1)
    clock = exchange.clock
    exchange.clock = lambda: clock() + timedelta(minutes=1)
    (connection,) = exchange.sockets.open
    await connection.request_test()  # its answer shows the exchange's clock
    await until(lambda: source._socket.exchange_now() > later)

    with pytest.raises(SourceError) as failed:
        await source.tick("btc_usd", later)

    assert failed.value.cause is Cause.FROZEN
    assert exchange.price_requests.total() == 0
    del exchange.faults["btc_usd"]
    assert (await source.tick("btc_usd", later)).observed_at >= later


async def test_a_locked_index_has_no_price_until_it_is_unlocked(
    exchange: Exchange, source: StreamedDeribit
) -> None:
    exchange.faults["btc_usd"] = Fault.LOCKED
    await until(lambda: "btc_usd" in (source._socket.locked or ()))

    assert await cause_of(source) is Cause.LOCKED
    del exchange.faults["btc_usd"]
    await until(lambda: "btc_usd" not in (source._socket.locked or ()))
    assert await source.tick("btc_usd", MINUTE)


@pytest.mark.parametrize("sockets", [True, False])
async def test_an_index_that_was_locked_before_is_known_to_be(
    exchange: Exchange, *, sockets: bool
) -> None:
    exchange.sockets.allowed = sockets
    exchange.faults["btc_usd"] = Fault.LOCKED
    async with opened(exchange) as source:
        assert await cause_of(source) is Cause.LOCKED
        assert await source.tick("eth_usd", MINUTE)


async def test_without_a_socket_every_price_is_requested(exchange: Exchange) -> None:
    exchange.sockets.allowed = False
    exchange.prices["btc_usd"] = "80814.47"
    async with opened(exchange) as source:
        for _ in range(2):  # an unchanged one, too
            assert (await source.tick("btc_usd", MINUTE)).price == Decimal("80814.47")
    assert exchange.price_requests == {"btc_usd": 2}


async def test_a_socket_that_was_closed_is_opened_again_and_prices_come_meanwhile(
    exchange: Exchange, source: StreamedDeribit
) -> None:
    exchange.sockets.allowed = False
    await exchange.sockets.close()
    await until(lambda: not source._socket.carries("btc_usd"))
    assert await source.tick("btc_usd", MINUTE)  # known before
    assert await source.tick("eth_usd", MINUTE)
    assert exchange.price_requests == {"eth_usd": 1}

    exchange.sockets.allowed = True
    await carried(source, "eth_usd")
    assert await source.tick("eth_usd", MINUTE)
    assert exchange.price_requests == {"eth_usd": 1}


async def test_a_socket_that_falls_silent_is_opened_again(
    exchange: Exchange, source: StreamedDeribit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "SILENCE", 0.3)
    (silent,) = exchange.sockets.open
    await until(lambda: RANKING in silent.channels)  # the last to be subscribed to
    silent.channels.clear()

    await until(lambda: exchange.sockets.open not in ([], [silent]))
    await until(lambda: source._socket.carries("btc_usd"))


async def test_a_channel_that_falls_silent_is_subscribed_to_again(
    exchange: Exchange, source: StreamedDeribit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "SILENCE", 0.3)
    await carried(source, "eth_usd")
    (connection,) = exchange.sockets.open
    connection.channels.remove(CHANNEL)

    await until(lambda: CHANNEL in connection.channels)

    assert exchange.sockets.open == [connection]


@pytest.mark.parametrize(
    ("fault", "event"),
    [(Fault.SILENT, "exchange_channels_silent"), (Fault.UNLISTED, "exchange_channels_refused")],
)
async def test_a_channel_that_brings_nothing_for_long_is_logged_once_and_once_when_it_is_back(
    exchange: Exchange,
    source: StreamedDeribit,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    event: str,
) -> None:
    monkeypatch.setattr(channels, "SILENCE", 0.3)
    monkeypatch.setattr(channels, "REFUSED_PAUSE", 0.1)
    exchange.faults["eth_usd"] = fault
    opened = source._socket._channels._channels
    name = "deribit_price_index.eth_usd"
    with structlog.testing.capture_logs() as logged:
        source._socket.follow("eth_usd")
        for _ in range(4):
            last = opened[name].subscribed_at
            await until(lambda: opened[name].subscribed_at != last)  # noqa: B023  # in this round
        exchange.faults.clear()
        await until(lambda: any(each["event"] == f"{event}_ended" for each in logged))

    lines = [(each["event"], each["channels"]) for each in logged if event in each["event"]]
    assert [each for each in lines if name in each[1]] == [
        (event, [name]),
        (f"{event}_ended", [name]),
    ]


async def test_a_new_ticker_s_channel_is_waited_for_if_there_is_a_connection(
    exchange: Exchange, source: StreamedDeribit
) -> None:
    names = [f"t{number}_usd" for number in range(300)]
    exchange.prices |= dict.fromkeys(names, "1.5")
    exchange.faults["t7_usd"] = Fault.UNLISTED

    ticks = await asyncio.gather(*(source.tick(name, MINUTE) for name in names))

    assert {each.price for each in ticks} == {Decimal("1.5")}
    assert exchange.price_requests == {"t7_usd": 1}


async def test_a_ticker_that_is_no_longer_collected_is_followed_no_more(
    exchange: Exchange, source: StreamedDeribit
) -> None:
    await carried(source, "eth_usd")
    (connection,) = exchange.sockets.open

    source.keep(["btc_usd"])
    await until(lambda: not any("eth_usd" in each for each in connection.channels))

    assert CHANNEL in connection.channels
    assert (await source.tick("btc_usd", MINUTE)).price == Decimal("80814.47")
    await carried(source, "eth_usd")  # and again where it is wanted again
    assert exchange.sockets.open == [connection]


async def test_a_test_request_is_answered(exchange: Exchange, source: StreamedDeribit) -> None:
    (connection,) = exchange.sockets.open

    await connection.request_test()

    await until(lambda: connection.tests == 1)


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":3,"error":{"code":10028,"message":"too_many_requests"}}',
        '{"jsonrpc":"2.0","id":3,"result":{},"usOut":1,"testnet":true}',
    ],
)
async def test_a_connection_with_an_error_is_opened_again(
    exchange: Exchange, source: StreamedDeribit, text: str
) -> None:
    (first,) = exchange.sockets.open

    await first.send(text)

    await until(lambda: exchange.sockets.open not in ([], [first]))
    await until(lambda: source._socket.carries("btc_usd"))


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        '{"id":"x"}',
        '{"method":"subscription","params":{"channel":"platform_state","data":{"maintenance":true}}}',
        *(
            json.dumps({"method": "subscription", "params": {"channel": CHANNEL, "data": data}})
            for data in (
                {"timestamp": 1.5, "price": 3, "index_name": "btc_usd"},
                {"timestamp": 10**30, "price": 3, "index_name": "btc_usd"},
                {"timestamp": 1_789_939_041_264, "price": None, "index_name": "btc_usd"},
                {"timestamp": 1_789_939_041_264, "price": -1, "index_name": "btc_usd"},
                {"timestamp": 1_789_939_041_264, "price": 7, "index_name": "eth_usd"},
                {},
            )
        ),
    ],
)
async def test_a_message_of_no_use_is_ignored(
    exchange: Exchange, source: StreamedDeribit, text: str
) -> None:
    (connection,) = exchange.sockets.open

    await connection.send(text)

    await carried(source, "eth_usd")  # the connection goes on
    assert (await source.tick("btc_usd", MINUTE)).price == Decimal("80814.47")
    assert exchange.sockets.open == [connection]


async def test_hundreds_of_tickers_are_subscribed_to_in_a_few_requests(exchange: Exchange) -> None:
    names = [f"t{number}_usd" for number in range(700)]
    exchange.prices |= dict.fromkeys(names, "1.5")
    exchange.every = 1.0
    async with opened(exchange) as source:
        for name in names:
            source._socket.follow(name)
        await until(lambda: all(map(source._socket.carries, names)))
        ticks = await asyncio.gather(*(source.tick(name, MINUTE) for name in names))

    assert {type(each) for each in ticks} == {Tick}
    assert exchange.price_requests.total() < len(names) / 2


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://www.deribit.com/api/v2", "wss://www.deribit.com/ws/api/v2"),
        ("http://127.0.0.1:8081/api/v2/", "ws://127.0.0.1:8081/ws/api/v2"),
    ],
)
def test_the_socket_is_beside_the_api(base: str, expected: str) -> None:
    assert socket_url(base) == expected
