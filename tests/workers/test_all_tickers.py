"""Workers that collect whatever the exchange lists, as QUOTES_TICKERS selects it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from client import serving
from processes import send_tick, worker
from rows import log, standing, wait

from quotes.database import backfills
from quotes.database.collected import Collected
from quotes.database.sessions import Sessions
from quotes.market.selection import Selection
from quotes.settings import Settings
from workers.collecting import Collector
from workers.demo.exchange import Exchange, Fault, serve
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace
from workers.history.gap_filling import fill_gaps
from workers.listing import Listing

METHOD = "get_index_price_names"


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(sockets=True)


@pytest.fixture
async def here(exchange: Exchange, settings: Settings) -> AsyncIterator[Settings]:
    async with serve(exchange) as url:
        yield settings.model_copy(update={"deribit_url": url})


def selecting(settings: Settings, *words: str) -> Settings:
    return settings.model_copy(update={"tickers": words})


def of(exchange: Exchange, ending: str) -> set[str]:
    return {name for name in exchange.listed() if name.endswith(ending)}


async def collected(
    settings: Settings, sessions: Sessions, tickers: set[str], *, ticks: int = 1
) -> None:
    """Send ticks at once and in each new minute, until these tickers have a quote."""
    sent = datetime.min.replace(tzinfo=UTC)

    async def tick() -> set[str]:
        nonlocal sent
        if (now := datetime.now(UTC).replace(second=0, microsecond=0)) > sent:
            sent = now
            for _ in range(ticks):
                send_tick(settings)
        return await stored(sessions)

    await wait(tick, lambda found: found >= tickers)


async def stored(sessions: Sessions) -> set[str]:
    return {each.ticker for each in await log(sessions)}


async def test_a_worker_collects_all_that_is_listed_and_after_a_restart_another_part_of_it(
    exchange: Exchange, here: Settings, sessions: Sessions
) -> None:
    dollars, coins = of(exchange, "_usd"), of(exchange, "_usdc")
    async with worker(selecting(here, "*_usd")):
        await collected(here, sessions, dollars)
    assert await stored(sessions) == dollars

    exchange.answers[METHOD] = "null"  # what was listed last is known
    both = selecting(here, "eth_btc", "*_usdc")
    async with worker(both), serving(both) as client:
        await collected(here, sessions, coins | {"eth_btc"})
        shown = await client.data("{ tickers { name collected last { price } } }")

    assert await stored(sessions) == dollars | coins | {"eth_btc"}
    assert {each["name"] for each in shown if each["collected"]} == coins | {"eth_btc"}
    assert all(each["last"] for each in shown)


async def test_two_workers_of_all_tickers_store_each_once(
    exchange: Exchange, here: Settings, sessions: Sessions
) -> None:
    everything = selecting(here, "*")
    async with worker(everything), worker(everything):
        await collected(here, sessions, set(exchange.listed()), ticks=4)

    found = await log(sessions)
    keys = {(each.ticker, each.minute) for each in found}
    assert {ticker for ticker, _ in keys} == set(exchange.listed())
    assert len(keys) == len(found)
    assert [each.seq for each in found] == list(range(1, len(found) + 1))


async def test_a_worker_whose_patterns_match_nothing_goes_on_without_work(
    exchange: Exchange, here: Settings, sessions: Sessions
) -> None:
    async with worker(selecting(here, "*_xyz")) as process:
        send_tick(here)
        async with asyncio.timeout(60):
            while not exchange.requests[METHOD]:  # noqa: ASYNC110  # another process requests it
                await asyncio.sleep(0.05)
        assert process.returncode is None

    assert await stored(sessions) == set()


async def test_a_hundred_new_tickers_are_collected_at_once_and_backfilled_beside_the_live_minute(
    exchange: Exchange, here: Settings, sessions: Sessions
) -> None:
    everything = Collected(Selection.of(["*"]), sessions)
    async with open_http(here.deribit_url) as http:
        source = Deribit(http, here.deribit_url, Pace(rate=200))
        listing, collector = Listing(source, sessions, everything), Collector(source, sessions)
        await listing.refresh()
        new = [f"new{number}_usd" for number in range(100)]
        now = exchange.clock()
        begin = now.replace(second=0, microsecond=0)
        exchange.clock = standing(begin)
        exchange.prices |= dict.fromkeys(new, "1.5")
        exchange.charts |= dict.fromkeys(new, f"[[{int(begin.timestamp() - 600) * 1_000},1.25]]")

        await listing.refresh()
        await asyncio.gather(
            fill_gaps(everything.in_order, source, sessions, now=now, seconds=1),
            collector.collect(begin, everything.in_order),
        )

    async with sessions() as session:
        charts = await backfills.of(session, new)
    assert await stored(sessions) == set(exchange.listed())
    assert set(new) <= everything.tickers
    assert {each.ticker for each in charts} == set(new)
    assert exchange.requests["get_index_chart_data"] > 0


async def test_a_ticker_that_is_gone_costs_nothing_and_is_collected_when_it_is_back(
    exchange: Exchange,
    here: Settings,
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.listing.CONFIRM", 0.01)
    monkeypatch.setattr("workers.attempts.CONFIRM_DELAY", 0.01)
    everything = Collected(Selection.of(["*_usd"]), sessions)
    async with open_http(here.deribit_url) as http:
        source = Deribit(http, here.deribit_url, Pace(rate=1_000))
        listing, collector = Listing(source, sessions, everything), Collector(source, sessions)
        everything.changed = collector.resume
        await listing.refresh()
        begin = exchange.clock().replace(second=0, microsecond=0)
        exchange.clock = lambda: begin

        exchange.faults["sol_usd"] = Fault.UNKNOWN_INDEX
        await collector.collect(begin, everything.in_order)
        await listing.refresh()
        asked = exchange.price_requests["sol_usd"]
        await collector.collect(begin, everything.in_order)
        assert exchange.price_requests["sol_usd"] == asked

        exchange.faults.clear()
        await listing.refresh()
        await collector.collect(begin, everything.in_order)

    assert "sol_usd" in await stored(sessions)
