"""What indexes are made of: heard over the exchange's WebSocket, published to the web processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from client import Client, serving
from prices import priced
from rows import insert, until, wait
from streaming import MINUTE, Clock, opened

from quotes.database.sessions import Sessions
from quotes.settings import Settings
from workers import constituents
from workers.constituents import publishing
from workers.demo import rankings
from workers.demo.exchange import Exchange, Fault
from workers.exchange import socket
from workers.exchange.streamed import StreamedDeribit

PRICE, RANKING = "deribit_price_index.btc_usd", "deribit_price_ranking.btc_usd"
BOTH = ["btc_usd", "eth_usd"]
MADE_OF = """{ constituents(ticker: "BTC") {
    nodes { exchange price originalPrice weight observedAt used } observedAt ageSeconds
    confidence { spread percent exchanges ageSeconds } } }"""
LATEST = '{ latestPrice(ticker: "BTC") { price at confidence { spread percent exchanges } } }'
SURE = '{ latestPrice(ticker: "BTC", maxSpread: "1%") { price } }'


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(clock=Clock(2), sockets=True, every=0.05)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constituents, "EVERY", 0.05)
    monkeypatch.setattr(socket, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(socket, "LONGEST_DELAY", 0.1)
    monkeypatch.setattr(socket, "CHECK", 0.05)
    monkeypatch.setattr(socket, "PAUSE", 0.05)


@asynccontextmanager
async def following(exchange: Exchange) -> AsyncIterator[StreamedDeribit]:
    async with opened(exchange) as source:
        for ticker in BOTH:
            source._socket.follow(ticker)
        yield source


@pytest.fixture
async def source(exchange: Exchange) -> AsyncIterator[StreamedDeribit]:
    """A worker's, that nobody is told by."""
    async with following(exchange) as source:
        yield source


@asynccontextmanager
async def running(
    exchange: Exchange, settings: Settings, sessions: Sessions
) -> AsyncIterator[tuple[Client, StreamedDeribit]]:
    """A worker and a web process."""
    async with (
        following(exchange) as source,
        publishing(sessions, source.rankings),
        serving(settings) as client,
    ):
        yield client, source


@pytest.fixture
async def service(
    exchange: Exchange, settings: Settings, sessions: Sessions
) -> AsyncIterator[tuple[Client, StreamedDeribit]]:
    async with running(exchange, settings, sessions) as service:
        yield service


@pytest.fixture
def client(service: tuple[Client, StreamedDeribit]) -> Client:
    return service[0]


@pytest.fixture
def worker(service: tuple[Client, StreamedDeribit]) -> StreamedDeribit:
    return service[1]


async def told(client: Client, **expected: Any) -> dict[str, Any]:
    """What btc_usd is made of, once so many are `used`, or it is otherwise as expected."""

    def done(found: Any) -> bool:
        return found is not None and all(
            sum(each["used"] for each in found["nodes"]) == value
            if name == "used"
            else found[name] == value
            for name, value in expected.items()
        )

    return dict(await wait(lambda: client.data(MADE_OF), done))


async def stored(source: StreamedDeribit, sessions: Sessions) -> None:
    """Store the prices of MINUTE."""
    for ticker in BOTH:
        tick = await source.tick(ticker, MINUTE)
        quote = priced(ticker, MINUTE, str(tick.price))
        await insert(sessions, quote)


async def test_the_exchanges_have_their_digits_weights_and_times(
    exchange: Exchange, client: Client
) -> None:
    exchange.rankings["btc_usd"] = """[
        {"identifier":"a","price":1.6433e-4,"original_price":0.00016430,"weight":16.666667,
         "timestamp":1702465142906,"enabled":true},
        {"identifier":"b","price":7,"original_price":null,"weight":100,"timestamp":0,"enabled":true},
        {"identifier":"c","price":null,"original_price":null,"weight":0,"timestamp":0,"enabled":false}]"""

    found = await told(client, used=2)

    assert found["nodes"] == [
        {
            "exchange": "a",
            "price": "0.00016433",
            "originalPrice": "0.00016430",
            "weight": "16.666667",
            "observedAt": "2023-12-13T10:59:02.906000Z",
            "used": True,
        },
        {"exchange": "b", "price": "7", "originalPrice": None, "weight": "100"}
        | {"observedAt": None, "used": True},
        {"exchange": "c", "price": None, "originalPrice": None, "weight": "0"}
        | {"observedAt": None, "used": False},
    ]
    assert found["observedAt"] == "2023-12-13T10:59:02.906000Z"
    assert found["ageSeconds"] > 86_400  # however promptly it is sent
    assert found["confidence"] is None


async def test_an_index_is_the_mean_of_what_it_is_made_of(
    exchange: Exchange, client: Client
) -> None:
    exchange.prices["btc_usd"] = "80814.47"

    found = await told(client, used=len(rankings.OFFSETS))

    prices = [Decimal(each["price"]) for each in found["nodes"] if each["used"]]
    assert sum(prices) / len(prices) == Decimal("80814.47")
    assert Decimal(found["confidence"]["spread"]) == max(prices) - min(prices)
    assert Decimal(found["confidence"]["percent"]) < Decimal("0.1")
    assert found["ageSeconds"] < 30
    assert found["confidence"]["exchanges"] == len(prices)


async def test_exchanges_that_are_left_out_one_by_one_have_no_part_in_the_spread(
    exchange: Exchange, client: Client
) -> None:
    names = list(rankings.OFFSETS)
    for number in range(len(names) + 1):
        exchange.excluded["btc_usd"] = names[:number]
        left = len(names) - number

        found = await told(client, used=left)

        if left < 2:  # one alone cannot be compared with any other
            assert found["confidence"] is None
        else:
            assert found["confidence"]["exchanges"] == left
            assert Decimal(found["confidence"]["percent"]) < Decimal("0.1")
    assert found["observedAt"] is None


async def test_one_at_ten_times_the_price_shows_at_once_and_until_the_next_price(
    exchange: Exchange, client: Client, worker: StreamedDeribit, sessions: Sessions
) -> None:
    exchange.prices["btc_usd"] = "80814.47"  # which stands still
    await told(client, used=len(rankings.OFFSETS))
    await stored(worker, sessions)
    await wait(lambda: client.data(LATEST), bool)
    assert float((await client.data(LATEST))["confidence"]["percent"]) < 1
    price = await client.data(SURE)

    exchange.faults["btc_usd"] = Fault.OUTLIER
    await wait(lambda: client.data(MADE_OF), is_wide)
    shown = (await client.data(LATEST))["confidence"]
    (error,) = (await client.answer(SURE))["errors"]
    assert float(shown["percent"]) > 800
    assert error["extensions"] == {
        "code": "UNCERTAIN_PRICE",
        "ticker": "btc_usd",
        "lastGood": error["extensions"]["lastGood"] | price,
        "spread": shown["spread"],
        "percent": shown["percent"],
        "maxSpread": "1%",
    }

    del exchange.faults["btc_usd"]  # and the price is still one that it may have been made with
    await wait(lambda: client.data(MADE_OF), lambda found: not is_wide(found))
    assert (await client.data(LATEST))["confidence"] == shown
    assert (await client.refusal(SURE))[0] == "UNCERTAIN_PRICE"
    assert await client.data(SURE.replace("BTC", "ETH"))


def is_wide(found: Any) -> bool:
    return bool(found["confidence"]) and float(found["confidence"]["percent"]) > 800


@pytest.mark.parametrize("fault", [Fault.NAMELESS, Fault.UNRANKED, Fault.ALONE])
async def test_what_cannot_be_compared_gives_no_confidence_and_others_do_not_suffer(
    exchange: Exchange, settings: Settings, sessions: Sessions, fault: Fault
) -> None:
    exchange.faults["btc_usd"] = fault
    async with running(exchange, settings, sessions) as (client, worker):
        await wait(lambda: client.data(MADE_OF.replace("BTC", "ETH")), bool)
        if fault is Fault.ALONE:
            found = await told(client, used=1)
            assert (len(found["nodes"]), found["confidence"]) == (1, None)
        await stored(worker, sessions)

        await wait(
            lambda: client.answer(SURE.replace("BTC", "ETH")), lambda each: "errors" not in each
        )
        latest = await client.data(LATEST)
        (error,) = (await client.answer(SURE))["errors"]

    assert latest["price"] is not None
    assert latest["confidence"] is None
    assert error["extensions"]["code"] == "UNCERTAIN_PRICE"
    assert (error["extensions"]["spread"], error["extensions"]["percent"]) == (None, None)
    assert exchange.price_requests.total() == 0


async def test_what_is_no_longer_heard_grows_old(exchange: Exchange, client: Client) -> None:
    first = await told(client, used=len(rankings.OFFSETS))

    exchange.faults["btc_usd"] = Fault.RANKING_SILENT
    found = await wait(lambda: client.data(MADE_OF), lambda each: each["ageSeconds"] > 2)

    assert found["observedAt"] >= first["observedAt"]
    assert found["confidence"]["ageSeconds"] == found["ageSeconds"]


async def test_prices_whose_time_does_not_move_grow_old_however_often_they_are_sent(
    exchange: Exchange, client: Client
) -> None:
    await told(client, used=len(rankings.OFFSETS))

    exchange.faults["btc_usd"] = Fault.FROZEN
    found = await wait(lambda: client.data(MADE_OF), lambda each: each["ageSeconds"] > 2)

    assert found["observedAt"] == (await client.data(MADE_OF))["observedAt"]


async def test_what_is_no_longer_followed_is_forgotten(
    exchange: Exchange, source: StreamedDeribit
) -> None:
    def known() -> set[str]:
        return {each.ticker for each in source.rankings.since(float("-inf"))}

    await until(lambda: known() == set(BOTH))
    (connection,) = exchange.sockets.open

    source.keep(["eth_usd"])

    assert known() == {"eth_usd"}
    await until(lambda: not any(each.endswith("btc_usd") for each in connection.channels))
    assert known() == {"eth_usd"}


async def test_a_time_in_the_future_is_none(exchange: Exchange, client: Client) -> None:
    hour = int((MINUTE + timedelta(hours=1)).timestamp() * 1_000)
    exchange.rankings["btc_usd"] = (
        f'[{{"identifier":"a","price":1,"weight":100,"timestamp":{hour},"enabled":true}}]'
    )

    found = await told(client, used=1)

    assert (found["nodes"][0]["observedAt"], found["observedAt"]) == (None, None)


async def test_prices_go_on_where_rankings_are_refused(
    exchange: Exchange, settings: Settings, sessions: Sessions
) -> None:
    exchange.refused.add("deribit_price_ranking")
    async with running(exchange, settings, sessions) as (client, worker):
        prices = worker._socket.follow("btc_usd")
        await until(lambda: exchange.sockets.opened > 1)
        await until(lambda: worker._socket.carries("btc_usd"))
        seen = prices.added_at
        await until(lambda: prices.added_at > seen)

        exchange.refused.clear()
        await until(lambda: prices.added_at > seen + 1)
        assert exchange.sockets.opened == 2
        assert await client.data(MADE_OF.replace("BTC", "ETH")) is None


async def test_after_a_lost_connection_rankings_come_again(
    exchange: Exchange, client: Client
) -> None:
    first = await told(client, used=len(rankings.OFFSETS))

    await exchange.sockets.close()

    await wait(lambda: client.data(MADE_OF), lambda each: each["observedAt"] > first["observedAt"])


async def test_hundreds_of_indexes_take_few_requests(exchange: Exchange) -> None:
    exchange.every = 1.0
    names = [f"t{number}_usd" for number in range(301)]
    exchange.prices |= dict.fromkeys(names, "1.5")
    async with following(exchange) as source:
        for name in names:
            source._socket.follow(name)
        wanted = {f"deribit_price_ranking.{name}" for name in names}
        await until(lambda: any(wanted <= set(each.channels) for each in exchange.sockets.open))
        (connection,) = exchange.sockets.open

        assert connection.subscriptions <= 6


@pytest.mark.parametrize(
    "data",
    [
        "[]",
        "7",
        "null",
        '"x"',
        "[null]",
        '[{"identifier":7,"enabled":true}]',
        '[{"identifier":"a","enabled":"true"}]',
        '[{"identifier":"","enabled":true}]',
        "[" + ",".join(['{"identifier":"a","enabled":true}'] * 51) + "]",
    ],
)
async def test_what_cannot_be_understood_is_not_shown(
    exchange: Exchange, settings: Settings, sessions: Sessions, data: str
) -> None:
    exchange.rankings["btc_usd"] = data
    async with running(exchange, settings, sessions) as (client, worker):
        await wait(lambda: client.data(MADE_OF.replace("BTC", "ETH")), bool)

        assert await client.data(MADE_OF) is None
        assert worker._socket.carries("btc_usd")


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "true", '"5"', "1e400", "Infinity"])
async def test_what_is_no_price_is_none_and_leaves_the_spread_unknown(
    exchange: Exchange, client: Client, price: str
) -> None:
    exchange.rankings["btc_usd"] = (
        f'[{{"identifier":"a","price":{price},"weight":{price},"enabled":true}},'
        '{"identifier":"b","price":5,"weight":50,"enabled":true},'
        '{"identifier":"c","price":5,"weight":50,"enabled":true}]'
    )

    found = await told(client, used=3)

    assert found["nodes"][0]["price"] is None
    assert found["confidence"] is None
