"""The exchange client over a real socket: faults have names, and no digit is lost on the way."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quotes.market.sources import Cause, Retry, SourceError, Tick, name_of
from workers.demo.exchange import Exchange, Fault, serve
from workers.exchange import deribit
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace

SHORT = aiohttp.ClientTimeout(total=5, sock_read=1)
MOMENT = datetime(2026, 9, 20, 21, 17, 21, 264123, tzinfo=UTC)


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(slow_seconds=0.05)


@pytest.fixture
async def url(exchange: Exchange) -> AsyncIterator[str]:
    async with serve(exchange) as url:
        yield url


@pytest.fixture
async def source(url: str) -> AsyncIterator[Deribit]:
    async with open_http(url, timeout=SHORT) as http:
        yield Deribit(http, url, Pace(rate=1_000))


async def test_a_tick_has_the_digits_and_the_clock_of_the_exchange(
    exchange: Exchange, source: Deribit
) -> None:
    exchange.prices["btc_usd"] = "80814.47"
    exchange.clock = lambda: MOMENT

    assert await source.tick("btc_usd") == Tick("btc_usd", Decimal("80814.47"), MOMENT)


@pytest.mark.parametrize(
    ("fault", "cause", "retry"),
    [
        (Fault.UNKNOWN_INDEX, Cause.UNKNOWN_INDEX, Retry.NEVER),
        (Fault.RATE_LIMITED, Cause.RATE_LIMITED, Retry.SOON),
        (Fault.MAINTENANCE, Cause.MAINTENANCE, Retry.SLOWLY),
        (Fault.HTTP_429, Cause.RATE_LIMITED, Retry.SOON),
        (Fault.HTTP_502, Cause.UNAVAILABLE, Retry.SOON),
        (Fault.REDIRECT, Cause.BAD_ANSWER, Retry.SOON),
        (Fault.INVALID_JSON, Cause.BAD_ANSWER, Retry.SOON),
        (Fault.HUGE, Cause.BAD_ANSWER, Retry.SOON),
        (Fault.DISCONNECT, Cause.UNREACHABLE, Retry.SOON),
        (Fault.TIMEOUT, Cause.TIMEOUT, Retry.SOON),
        (Fault.WRONG_TESTNET, Cause.WRONG_ENVIRONMENT, Retry.NEVER),
        (Fault.NULL, Cause.NO_PRICE, Retry.SOON),
        (Fault.ZERO, Cause.BAD_PRICE, Retry.SOON),
        (Fault.NEGATIVE, Cause.BAD_PRICE, Retry.SOON),
        (Fault.NAN, Cause.BAD_PRICE, Retry.SOON),
    ],
)
async def test_each_fault_of_the_exchange_has_a_named_cause(
    fault: Fault, cause: Cause, retry: Retry, exchange: Exchange, source: Deribit
) -> None:
    exchange.faults["btc_usd"] = fault

    async with asyncio.timeout(60):
        with pytest.raises(SourceError) as caught:
            await source.tick("btc_usd")

    assert (caught.value.cause, caught.value.retry) == (cause, retry)
    assert str(caught.value).startswith("btc_usd: ")


@pytest.mark.parametrize(
    ("fault", "price"),
    [(Fault.INT, Decimal(101848)), (Fault.SCIENTIFIC, Decimal("0.00016433"))],
)
async def test_each_way_to_write_a_number_is_read(
    fault: Fault, price: Decimal, exchange: Exchange, source: Deribit
) -> None:
    exchange.faults["btc_usd"] = fault

    assert (await source.tick("btc_usd")).price == price


async def test_a_slow_answer_is_an_answer(exchange: Exchange, source: Deribit) -> None:
    exchange.faults["btc_usd"] = Fault.SLOW

    assert (await source.tick("btc_usd")).price > 0


async def test_tickers_that_hang_leave_a_turn_to_the_others(
    exchange: Exchange, source: Deribit
) -> None:
    hanging = [f"{name}_usd" for name in ("btc", "sol", "xrp", "ada", "bnb", "ltc", "trx")]
    exchange.faults.update(dict.fromkeys(hanging, Fault.TIMEOUT))

    *failed, tick = await asyncio.gather(
        *map(source.tick, hanging), source.tick("eth_usd"), return_exceptions=True
    )

    assert all(isinstance(error, SourceError) for error in failed)
    assert isinstance(tick, Tick)


async def test_nobody_listening_is_unreachable_and_only_the_operator_reads_where() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: no one else gets the port
        port = closed.getsockname()[1]
        url = f"http://user:hush@127.0.0.1:{port}/api/v2"
        async with open_http(url, timeout=SHORT) as http:
            with pytest.raises(SourceError) as caught:
                await Deribit(http, url).tick("btc_usd")

    assert caught.value.cause is Cause.UNREACHABLE
    assert str(caught.value) == "btc_usd: the exchange cannot be reached (Connection refused)."
    assert caught.value.detail == f"at 127.0.0.1:{port}"


async def test_a_host_that_does_not_exist_is_not_named() -> None:
    async with open_http() as http:
        with pytest.raises(SourceError) as caught:
            await Deribit(http, "http://nowhere.invalid/api/v2").tick("btc_usd")

    assert caught.value.cause is Cause.UNREACHABLE
    assert "nowhere" not in str(caught.value)


@pytest.mark.parametrize("fault", [Fault.DISCONNECT, Fault.TIMEOUT, Fault.REDIRECT, Fault.HUGE])
async def test_no_message_shows_the_password_of_the_url(
    fault: Fault, exchange: Exchange, url: str
) -> None:
    exchange.faults["btc_usd"] = fault
    secret = url.replace("http://", "http://user:hush@")

    async with open_http(url, timeout=SHORT) as http:
        with pytest.raises(SourceError) as caught:
            await Deribit(http, secret).tick("btc_usd")

    for text in (str(caught.value), caught.value.detail):
        assert "hush" not in text
        assert "user" not in text
    assert "127.0.0.1" not in str(caught.value)


async def test_what_is_not_http_is_a_bad_answer() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v2"
        async with open_http(url, timeout=SHORT) as http:
            with pytest.raises(SourceError) as caught:
                await Deribit(http, url).tick("btc_usd")

    assert caught.value.cause is Cause.BAD_ANSWER


async def test_loopback_is_never_queried_through_a_proxy(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.delenv("no_proxy", raising=False)

    async with open_http(url, timeout=SHORT) as http:
        assert await Deribit(http, url).tick("btc_usd")


async def test_test_prices_are_taken_from_the_test_exchange_alone(
    exchange: Exchange, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", url.removesuffix("/api/v2"))  # so it plays any host
    monkeypatch.delenv("no_proxy", raising=False)
    exchange.faults["eth_usd"] = Fault.WRONG_TESTNET

    async with open_http(timeout=SHORT) as http:
        source = Deribit(http, "http://test.deribit.com/api/v2")

        assert source.name == "deribit-testnet"
        assert await source.tick("eth_usd")
        with pytest.raises(SourceError) as caught:
            await source.tick("btc_usd")
        assert caught.value.cause is Cause.WRONG_ENVIRONMENT


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("www.deribit.com", "deribit"),
        ("test.deribit.com", "deribit-testnet"),
        ("localhost", "demo"),
        ("127.0.0.1", "demo"),
        ("127.8.9.1", "demo"),
        ("::1", "demo"),
        ("prices.example.org", "prices.example.org"),
        ("www.deribit.com.example.org", "www.deribit.com.example.org"),
    ],
)
def test_a_source_is_named_by_its_host(host: str, name: str) -> None:
    assert name_of(f"https://{host}/api/v2") == name


async def test_the_name_is_read_from_the_url_in_any_case() -> None:
    async with open_http() as http:
        assert Deribit(http, "HTTPS://WWW.Deribit.com:443/api/v2/").name == "deribit"
        assert Deribit(http, "http://[::1]:8081/api/v2").name == "demo"


def test_a_call_is_bounded_in_time() -> None:
    assert deribit.TIMEOUT.total == 10
    assert deribit.TIMEOUT.sock_connect == 3
    assert deribit.TIMEOUT.sock_read == 5


numbers = st.builds(
    lambda digits, exponent, form: format(Decimal((0, digits, exponent)), form),
    st.lists(st.integers(0, 9), min_size=1, max_size=40).filter(lambda digits: digits[0] > 0),
    st.integers(-30, 0),
    st.sampled_from(["f", "e", "E", ""]),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=numbers)
async def test_no_digit_is_lost_on_the_wire(text: str, exchange: Exchange, source: Deribit) -> None:
    exchange.prices["btc_usd"] = text

    assert str((await source.tick("btc_usd")).price) == str(Decimal(text))
