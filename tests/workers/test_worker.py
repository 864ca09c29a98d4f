"""Worker processes on a real broker, a real database and the stand-in exchange."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from client import serving
from processes import send, send_compact, worker
from recorded import REPLAYED, recorded
from rows import insert, log, logged, minute, names, quote, standing, until, wait

from quotes.database.log import compaction, store
from quotes.database.models import Failure
from quotes.database.sessions import Sessions
from quotes.settings import Settings
from workers.demo.exchange import Exchange, Fault, serve


@pytest.fixture
def exchange() -> Exchange:
    """The stand-in, whose clock stands at two seconds past noon."""
    return Exchange(clock=lambda: minute(0) + timedelta(seconds=2))


@pytest.fixture
async def here(exchange: Exchange, settings: Settings) -> AsyncIterator[Settings]:
    async with serve(exchange) as url:
        yield settings.model_copy(update={"deribit_url": url})


async def failure(sessions: Sessions, ticker: str) -> Failure:
    async def look() -> list[Failure]:
        async with sessions() as session:
            return list(await store.last_failures(session, [ticker]))

    (found,) = await wait(look, bool)
    return found


async def test_what_graphql_answers_of_replayed_minutes_is_the_file_digit_for_digit(
    exchange: Exchange, here: Settings, sessions: Sessions
) -> None:
    files = {name: recorded(name) for name in here.tickers}
    moments = [at for at, _ in files["btc_usd"]]
    playing = iter(range(REPLAYED))

    async with worker(here), serving(here) as client:
        for number in playing:
            at = datetime.fromisoformat(moments[number])
            exchange.clock = standing(at)
            exchange.prices = {name: file[number][1] for name, file in files.items()}
            send(here, at)
            if number % 3 == 0:
                send(here, at)  # now and then a minute is delivered twice
            await logged(sessions, 2 * (number + 1))
        answer = {
            name: await client.data(
                "query ($t: Ticker!) { prices(ticker: $t) { nodes { at price origin source } } }",
                t=name,
            )
            for name in files
        }

    for name, file in files.items():
        assert [(node["at"], node["price"]) for node in answer[name]["nodes"]] == file
        assert {(node["origin"], node["source"]) for node in answer[name]["nodes"]} == {
            ("LIVE", "demo")
        }


async def test_a_worker_hears_of_its_indexes_before_its_first_minute(
    exchange: Exchange, here: Settings
) -> None:
    exchange.sockets.allowed = True
    query = """{ btc: constituents(ticker: "BTC") { nodes { exchange } }
        eth: constituents(ticker: "ETH") { nodes { exchange } } }"""

    async with worker(here), serving(here) as client:
        found = await wait(lambda: client.data(query), lambda each: all(each.values()))

    assert len(found["btc"]["nodes"]) == len(found["eth"]["nodes"]) > 2
    assert exchange.price_requests.total() == 0


async def test_two_workers_and_every_message_twice_make_one_quote_a_minute(
    here: Settings, exchange: Exchange, sessions: Sessions
) -> None:
    moments = [minute(at) for at in range(10)]
    async with worker(here), worker(here):
        for at in moments:
            exchange.clock = standing(at)
            send(here, at)
            send(here, at)
            await logged(sessions, 2 * (moments.index(at) + 1))

    found = await log(sessions)
    assert sorted(names(found)) == [
        (name, at) for name in ("btc_usd", "eth_usd") for at in range(10)
    ]
    assert [each.seq for each in found] == list(range(1, 21))


async def test_a_killed_worker_s_message_is_taken_up_by_another(
    here: Settings, exchange: Exchange, sessions: Sessions
) -> None:
    exchange.faults["btc_usd"] = Fault.TIMEOUT
    async with worker(here) as first:
        send(here, minute(0), "btc_usd")
        await until(lambda: exchange.price_requests["btc_usd"] > 0)
        first.kill()
        await first.wait()
    exchange.faults.clear()

    async with worker(here):
        assert names(await logged(sessions, 1)) == [("btc_usd", 0)]


def current_minute(exchange: Exchange) -> datetime:
    """A minute with most of its time before it; the stand-in's clock is set within it."""
    now = datetime.now(UTC)
    at = now.replace(second=0, microsecond=0) + timedelta(minutes=now.second > 30)
    exchange.clock = lambda: max(datetime.now(UTC), at)
    return at


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.HTTP_502, Fault.NULL])
async def test_a_ticker_that_failed_is_requested_again_within_its_minute(
    here: Settings, exchange: Exchange, sessions: Sessions, fault: Fault
) -> None:
    exchange.faults["eth_usd"] = fault
    at = current_minute(exchange)
    async with worker(here):
        send(here, at)
        await failure(sessions, "eth_usd")
        assert {each.ticker for each in await log(sessions)} == {"btc_usd"}

        exchange.faults.clear()

        assert {each.ticker for each in await logged(sessions, 2)} == {"btc_usd", "eth_usd"}


async def test_an_unknown_index_is_confirmed_once_and_shown(
    here: Settings, exchange: Exchange, sessions: Sessions
) -> None:
    ours = here.model_copy(update={"tickers": ("btc_usd", "nosuch_usd")})
    at = current_minute(exchange)
    async with worker(ours), serving(ours) as client:
        send(ours, at)
        await failure(sessions, "nosuch_usd")
        exchange.faults["btc_usd"] = Fault.HTTP_502
        send(ours, at + timedelta(minutes=1))
        await failure(sessions, "btc_usd")
        answer = await client.data("{ tickers { name last { at } lastFailure { cause } } }")

    assert exchange.price_requests["nosuch_usd"] == 2
    assert answer[1]["lastFailure"] == {"cause": "UNKNOWN_INDEX"}
    assert answer[0]["last"] is not None


async def test_a_worker_that_starts_without_its_exchange_says_so_and_goes_on(
    settings: Settings, sessions: Sessions, exchange: Exchange
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    here = settings.model_copy(update={"deribit_url": f"http://127.0.0.1:{port}/api/v2"})
    async with worker(here), AsyncExitStack() as later:
        send(here, minute(0))
        assert (await failure(sessions, "btc_usd")).cause == "UNREACHABLE"

        await later.enter_async_context(serve(exchange, port))
        send(here, minute(0))

        assert len(await logged(sessions, 2)) == 2


async def test_a_message_that_makes_no_sense_harms_no_other(
    here: Settings, sessions: Sessions
) -> None:
    async with worker(here):
        send(here, minute(0), "'; DROP TABLE quotes --")
        send(here, minute(0))

        assert len(await logged(sessions, 2)) == 2


async def test_a_worker_compacts_the_months_that_are_over(
    here: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=0), quote(at=-60_000))

    async def due() -> list[str]:
        async with sessions() as session:
            return list(await compaction.due(session, datetime.now(UTC)))

    assert len(await due()) == 2
    async with worker(here):
        send_compact(here)

        await wait(due, lambda found: not found)
    assert len(await log(sessions)) == 2
