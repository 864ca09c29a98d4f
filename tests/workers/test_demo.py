"""The stand-in exchange: it speaks as the real one does, and its history never changes."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from workers.demo import market
from workers.demo.exchange import Exchange, Fault, serve

MOMENT = datetime(2026, 9, 20, 21, 17, 21, 264123, tzinfo=UTC)


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(clock=lambda: MOMENT)


@pytest.fixture
async def http(exchange: Exchange) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        serve(exchange) as url,
        aiohttp.ClientSession(url.removesuffix("api/v2")) as http,
    ):
        yield http


async def call(http: aiohttp.ClientSession, method: str, **params: str) -> tuple[int, Any]:
    async with http.get(f"/api/v2/public/{method}", params=params) as response:
        return response.status, json.loads(await response.text(), parse_float=Decimal)


async def result(http: aiohttp.ClientSession, method: str, **params: str) -> Any:
    status, answer = await call(http, method, **params)
    assert status == 200, answer
    return answer["result"]


async def test_an_answer_has_the_envelope_of_a_recorded_one(http: aiohttp.ClientSession) -> None:
    _, answer = await call(http, "get_index_price", index_name="btc_usd")

    assert list(answer) == ["jsonrpc", "result", "usIn", "usOut", "usDiff", "testnet"]
    assert answer["jsonrpc"] == "2.0"
    assert answer["usOut"] == 1789939041264123
    assert answer["usDiff"] == 0
    assert answer["testnet"] is False
    assert set(answer["result"]) == {"index_price", "estimated_delivery_price"}


async def test_an_answer_is_packed_and_uncached_and_signed(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/v2/public/test", headers={"Accept-Encoding": "gzip"}) as response:
        headers = response.headers

    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Type"].startswith("application/json")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] == "quotes-demo"


@pytest.mark.parametrize(
    ("method", "params", "code", "param"),
    [
        ("get_index_price", {"index_name": "nope_usd"}, -32602, "index_name"),
        ("get_index_price", {}, -32602, "index_name"),
        ("get_index_chart_data", {"index_name": "nope_usd", "range": "1h"}, -32602, "index_name"),
        ("get_index_chart_data", {"index_name": "btc_usd", "range": "7d"}, -32602, "range"),
        ("get_supported_index_names", {"type": "odd"}, -32602, "type"),
        ("get_index_price_names", {"extended": "perhaps"}, -32602, "extended"),
        ("buy", {}, -32601, None),
    ],
)
async def test_a_refusal_is_http_400_with_a_code(
    method: str, params: dict[str, str], code: int, param: str | None, http: aiohttp.ClientSession
) -> None:
    status, answer = await call(http, method, **params)

    assert status == 400
    assert answer["error"]["code"] == code
    assert answer["error"].get("data", {}).get("param") == param


async def test_names_are_listed_plain_or_extended(http: aiohttp.ClientSession) -> None:
    names = await result(http, "get_index_price_names")
    extended = await result(http, "get_index_price_names", extended="true")

    assert {"btc_usd", "eth_usd", "1000shib_usdc", "drbfix-btc_usdc"} <= set(names)
    assert len(names) == len(set(names)) > 24
    assert [entry["name"] for entry in extended] == names


async def test_the_supported_names_are_all_or_of_one_type(http: aiohttp.ClientSession) -> None:
    everything = await result(http, "get_supported_index_names")
    spot = await result(http, "get_supported_index_names", type="spot")
    derivative = await result(http, "get_supported_index_names", type="derivative")

    assert everything == [*spot, *derivative]


async def test_every_listed_index_has_a_price(http: aiohttp.ClientSession) -> None:
    for name in market.INDEXES:
        price = await result(http, "get_index_price", index_name=name)

        assert price["index_price"] > 0


async def test_time_and_status_are_answered_as_recorded(http: aiohttp.ClientSession) -> None:
    assert await result(http, "get_time") == 1789939041264
    assert await result(http, "status") == {"locked": "false"}


async def test_small_prices_are_written_in_scientific_notation(
    http: aiohttp.ClientSession,
) -> None:
    async with http.get("/api/v2/public/get_index_price?index_name=pepe_usd") as response:
        text = await response.text()

    assert "e-" in text.partition('"index_price":')[2].partition(",")[0]


async def test_a_pinned_price_is_answered_letter_by_letter(
    exchange: Exchange, http: aiohttp.ClientSession
) -> None:
    exchange.prices["new_usd"] = "0.0000012345678"

    async with http.get("/api/v2/public/get_index_price?index_name=new_usd") as response:
        assert '"index_price":0.0000012345678,' in await response.text()


def test_a_seed_has_one_history_and_another_seed_another() -> None:
    hours = [MOMENT - timedelta(hours=n) for n in range(48)]

    history = [market.price("btc_usd", when, 7) for when in hours]

    assert history == [market.price("btc_usd", when, 7) for when in hours]
    assert history != [market.price("btc_usd", when, 8) for when in hours]


def test_prices_move_by_a_few_per_cent_a_day_and_a_little_each_minute() -> None:
    def moves(step: timedelta) -> list[Decimal]:
        prices = [market.price("btc_usd", MOMENT - n * step, 1) for n in range(500)]
        return sorted(abs(a / b - 1) for a, b in pairwise(prices))

    daily, each_minute = moves(timedelta(days=1)), moves(timedelta(minutes=1))

    assert Decimal("0.005") < daily[250] < Decimal("0.05")
    assert daily[-1] < Decimal("0.25")
    assert Decimal("0.00005") < each_minute[250] < Decimal("0.001")


def test_prices_have_the_decimals_of_their_index() -> None:
    names = ("btc_usd", "eth_usd", "sol_usd", "xrp_usd", "1000shib_usdc", "eth_btc")

    assert [market.decimals(name) for name in names] == [2, 2, 3, 5, 7, 7]


@pytest.mark.parametrize(
    ("name", "step", "points"),
    [
        ("1h", timedelta(seconds=6), 600),
        ("1d", timedelta(minutes=1), 1440),
        ("2d", timedelta(minutes=5), 576),
        ("1m", timedelta(hours=1), 720),
        ("1y", timedelta(days=1), 365),
        ("all", timedelta(days=1), 730),
    ],
)
async def test_a_chart_is_whole_and_oldest_first_and_ends_now(
    name: str, step: timedelta, points: int, http: aiohttp.ClientSession
) -> None:
    chart = await result(http, "get_index_chart_data", index_name="btc_usd", range=name)

    times = [ms for ms, _ in chart]
    assert len(times) == points
    assert {b - a for a, b in pairwise(times)} == {step // timedelta(milliseconds=1)}
    now = MOMENT.timestamp() * 1000
    assert times[-1] <= now < times[-1] + step // timedelta(milliseconds=1)


def test_an_average_is_that_of_the_prices_of_its_step() -> None:
    *_, (ms, average) = market.chart("btc_usd", "1h", MOMENT, 1)

    end = datetime.fromtimestamp(ms // 1000, UTC)
    prices = [market.price("btc_usd", end - timedelta(seconds=n), 1) for n in range(6)]
    assert average == round(sum(prices) / 6, 6)


def test_a_later_chart_has_the_same_past() -> None:
    then = dict(market.chart("eth_usd", "1m", MOMENT, 1))
    later = dict(market.chart("eth_usd", "1m", MOMENT + timedelta(days=10), 1))

    both = then.keys() & later.keys()
    assert len(both) == 480
    assert all(then[at] == later[at] for at in both)


async def test_calls_for_a_price_are_counted_by_ticker(
    exchange: Exchange, http: aiohttp.ClientSession
) -> None:
    await result(http, "get_index_price", index_name="btc_usd")
    await result(http, "get_index_price", index_name="btc_usd")
    await result(http, "get_index_chart_data", index_name="btc_usd", range="1h")

    assert exchange.price_requests == {"btc_usd": 2}


async def test_a_person_can_set_and_lift_a_fault(http: aiohttp.ClientSession) -> None:
    async with http.put("/faults/btc_usd", data="maintenance\n") as response:
        assert response.status == 200
    async with http.get("/faults") as response:
        assert await response.json() == {"btc_usd": "MAINTENANCE"}
    assert (await call(http, "get_index_price", index_name="btc_usd"))[0] == 400

    async with http.delete("/faults/btc_usd") as response:
        assert response.status == 200
    assert (await call(http, "get_index_price", index_name="btc_usd"))[0] == 200


@pytest.mark.parametrize(
    ("index", "word", "expected"),
    [("btc_usd", "BROKEN", "WRONG_TESTNET"), ("nope_usd", "NULL", "no index 'nope_usd'")],
)
async def test_a_wrong_word_is_refused_with_a_reason(
    index: str, word: str, expected: str, http: aiohttp.ClientSession
) -> None:
    async with http.put(f"/faults/{index}", data=word) as response:
        assert response.status == 400
        assert expected in await response.text()


async def test_a_call_held_back_is_answered_when_the_fault_is_lifted(
    exchange: Exchange, http: aiohttp.ClientSession
) -> None:
    exchange.faults["btc_usd"] = Fault.TIMEOUT

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        call = tasks.create_task(result(http, "get_index_price", index_name="btc_usd"))
        while not exchange.price_requests["btc_usd"]:  # noqa: ASYNC110  # a Counter has no event
            await asyncio.sleep(0)
        assert not call.done()
        del exchange.faults["btc_usd"]

    assert call.result()["index_price"] > 0


async def test_the_front_page_says_that_prices_are_made_up(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as response:
        assert "made up" in await response.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_command_prints_where_it_listens_and_ends_on_sigterm(
    number: signal.Signals,
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers.demo", stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            line = json.loads(await process.stderr.readline())
            async with aiohttp.request("GET", f"{line['url']}/public/test") as response:
                assert response.status == 200
            process.send_signal(number)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
