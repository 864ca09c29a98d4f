"""The tickers that the exchange's list is asked for: at the start, each hour, and in between."""

import asyncio
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from rows import until, wait

from quotes.background import background
from quotes.database import indexes
from quotes.database.collected import Collected
from quotes.database.log import store
from quotes.database.models import Failure
from quotes.database.sessions import Sessions
from quotes.market.selection import Selection
from quotes.market.sources import SourceError
from quotes.settings import Settings
from workers import listing, worker
from workers.demo.exchange import Exchange, Fault, serve
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace
from workers.listing import Listing, open_listing
from workers.process import Process

METHOD = "get_index_price_names"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "CONFIRM", 0.01)
    monkeypatch.setattr(listing, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(listing, "LONGEST_DELAY", 0.05)


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
async def source(exchange: Exchange) -> AsyncIterator[Deribit]:
    async with serve(exchange) as url, open_http(url) as http:
        yield Deribit(http, url, Pace(rate=1_000))


def selecting(sessions: Sessions, *words: str) -> Collected:
    return Collected(Selection.of(words), sessions)


async def failures(sessions: Sessions, *tickers: str) -> list[Failure]:
    async with sessions() as session:
        return list(await store.last_failures(session, tickers))


def ended(task: asyncio.Task[None]) -> None:
    assert task.cancelled()


async def test_a_list_selects_what_matches_and_is_read_by_every_process(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    here, elsewhere = selecting(sessions, "btc_usd", "*_usdc"), selecting(sessions, "*_usdt")

    await Listing(source, sessions, here).refresh()
    await elsewhere.read()

    listed = exchange.listed()
    assert here.in_order == ("btc_usd", *sorted(each for each in listed if "_usdc" in each))
    assert elsewhere.tickers == {each for each in listed if "_usdt" in each}


async def test_an_index_that_is_gone_is_told_so_and_comes_back(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    collected = selecting(sessions, "btc_usd", "*_usd")
    new: list[frozenset[str]] = []
    collected.changed = new.append
    listing = Listing(source, sessions, collected)
    await listing.refresh()
    before = collected.tickers

    gone = ("btc_usd", "sol_usd", "sol_usdc")
    exchange.faults |= dict.fromkeys(gone, Fault.UNKNOWN_INDEX)
    with structlog.testing.capture_logs() as logged:
        await listing.refresh()
        await listing.refresh()

    assert collected.tickers == before - {"sol_usd"}  # what is named stays
    (failure,) = await failures(sessions, *gone)
    assert (failure.ticker, failure.cause, failure.attempts) == ("sol_usd", "UNKNOWN_INDEX", 1)
    assert failure.message == "sol_usd: the exchange no longer lists an index of this name."
    (line,) = [each for each in logged if each["event"] == "indexes_gone"]
    assert line["tickers"] == ["sol_usd"]

    exchange.faults.clear()
    await listing.refresh()

    assert collected.tickers == before
    assert new[1:] == [frozenset(), {"sol_usd"}]


async def test_one_list_that_lacks_most_of_them_is_not_trusted(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    collected = selecting(sessions, "*")
    await Listing(source, sessions, collected).refresh()
    before = collected.tickers

    class Odd(Deribit):
        async def index_names(self) -> frozenset[str]:
            names = await super().index_names()
            return names if exchange.requests[METHOD] % 2 else frozenset({"btc_usd", "new_usd"})

    async with serve(exchange) as url, open_http(url) as http:
        odd = Listing(Odd(http, url, Pace(rate=1_000)), sessions, collected)
        exchange.requests[METHOD] = 1
        await odd.refresh()

    assert collected.tickers == before | {"new_usd"}
    assert await failures(sessions, *before) == []


@pytest.mark.parametrize("text", ["[]", "{}", "null", "[5, {}]", '["no ticker", "BTC_USD"]'])
async def test_a_list_without_any_ticker_is_no_list(
    exchange: Exchange,
    source: Deribit,
    sessions: Sessions,
    text: str,
) -> None:
    collected = selecting(sessions, "*_usd")
    await Listing(source, sessions, collected).refresh()
    before = collected.tickers
    exchange.answers[METHOD] = text

    with pytest.raises(SourceError, match="indexes: the exchange's answer"):
        await Listing(source, sessions, collected).refresh()
    await collected.read()

    assert collected.tickers == before


async def test_what_can_be_no_ticker_is_left_out(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    exchange.answers[METHOD] = '["btc_usd", "Two Words", 5, null, "BTC", "1000shib_usdc"]'

    assert await source.index_names() == {"btc_usd", "1000shib_usdc"}


async def test_without_the_exchange_the_last_list_is_used_until_it_is_back(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    async with sessions.begin() as session:
        await indexes.replace(session, ["btc_usd", "old_usd", "btc_usdc"])
    collected = selecting(sessions, "*_usd")
    await collected.read()
    exchange.answers[METHOD] = "null"
    listing = Listing(source, sessions, collected)

    with structlog.testing.capture_logs() as logged:
        async with open_listing(listing, collected, ended):
            await until(lambda: exchange.requests[METHOD] > 3)
            assert collected.in_order == ("btc_usd", "old_usd")

            del exchange.answers[METHOD]
            await until(lambda: "eth_usd" in collected.tickers)

    assert "old_usd" not in collected.tickers
    events = [each["event"] for each in logged]
    assert events.count("exchange_list_unavailable") == 1
    assert events.count("exchange_list_unavailable_ended") == 1


async def test_a_first_start_without_the_exchange_waits_a_little_and_goes_on(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    exchange.answers[METHOD] = "null"
    collected = selecting(sessions, "btc_usd", "*_usdc")

    async with open_listing(Listing(source, sessions, collected), collected, ended):
        assert exchange.requests[METHOD] > 0
        assert collected.in_order == ("btc_usd",)


async def test_a_pattern_that_matches_nothing_is_told_in_the_log(
    source: Deribit, sessions: Sessions
) -> None:
    collected = selecting(sessions, "btc_usd", "*_xyz")

    with structlog.testing.capture_logs() as logged:
        await Listing(source, sessions, collected).refresh()

    (line,) = [each for each in logged if each["event"] == "tickers_unmatched"]
    assert line["patterns"] == ["*_xyz"]
    assert collected.in_order == ("btc_usd",)


async def test_names_alone_ask_for_no_list(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    collected = selecting(sessions, "btc_usd", "nosuch_usd")

    async with open_listing(Listing(source, sessions, collected), collected, ended):
        assert collected.in_order == ("btc_usd", "nosuch_usd")

    assert exchange.requests.total() == 0


async def test_two_workers_that_receive_different_lists_at_once_agree_in_the_end(
    exchange: Exchange, source: Deribit, sessions: Sessions
) -> None:
    both = [selecting(sessions, "*") for _ in range(2)]

    for index in exchange.listed()[:6]:
        exchange.faults[index] = Fault.UNKNOWN_INDEX
        await asyncio.gather(*(Listing(source, sessions, each).refresh() for each in both))
        await wait(both[0].read, lambda _: both[0].tickers == set(exchange.listed()))
        await both[1].read()
        assert both[0].tickers == both[1].tickers

    gone = await failures(sessions, *exchange.known())
    assert {each.attempts for each in gone} == {1}


async def test_a_worker_ends_when_the_loop_that_receives_the_list_has_failed(
    settings: Settings,
) -> None:
    process = Process(settings)

    async def fail() -> None:
        raise RuntimeError("a fault of ours")

    async with background(fail(), "listing", process._loop_ended) as task:
        await asyncio.wait({task})
    threads = SimpleNamespace(workers=[], consumers={})
    died = await asyncio.to_thread(worker._wait, cast("Any", threads), process, threading.Event())

    assert died == ["listing"]
