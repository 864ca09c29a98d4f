"""Servers killed and started again under the processes that use them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis.asyncio
import structlog
from client import serving
from processes import running, send, worker
from rows import NOON, insert, log, logged, minute, names, quote, seq_of, standing, until, wait

from quotes import queue
from quotes.database.maintenance import migrations
from quotes.database.sessions import Sessions, open_engine
from quotes.local.embedded import Postgres, Valkey
from quotes.local.server import Server
from quotes.settings import Settings
from workers.demo.exchange import Exchange, serve

# What is committed outlives the server's processes; without fsync, not the machine's power.
DURABLE = {"fsync": "off"}

AT_START = 3  # messages that a clock sends when it starts: tick, fill_gaps, and fill_gaps at once

CANDLE = 'subscription { candleUpdates(ticker: "BTC", interval: "1mo") { close } }'
WAITING = ("database_unavailable", "candle")
UPDATES = "subscription ($after: String) { priceUpdates(after: $after) { cursor } }"


@pytest.fixture
async def postgres(folder: Path) -> AsyncIterator[Postgres]:
    """A database server of the test's own, to be killed."""
    server = Postgres(folder / "postgres", options=DURABLE)
    await server.start()
    await asyncio.to_thread(migrations.migrate, server.url)
    yield server
    await server.stop()


@pytest.fixture
async def valkey(folder: Path) -> AsyncIterator[Valkey]:
    """A queue of the test's own, to be killed."""
    server = Valkey(folder / "valkey")
    await server.start()
    yield server
    await server.stop()


async def kill(server: Server) -> None:
    """End it as the kernel would when it runs out of memory."""
    server.kill()
    await server.wait()


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(clock=lambda: NOON + timedelta(seconds=2))


async def test_subscribers_stay_connected_and_lose_nothing_while_postgresql_is_restarted(
    postgres: Postgres, settings: Settings
) -> None:
    own = Settings(database_url=postgres.url, redis_url=settings.redis_url)
    async with (
        open_engine(postgres.url, name="test") as engine,
        serving(own) as client,
        client.subscription(UPDATES, after="s0") as updates,
    ):
        sessions = Sessions(engine)
        await insert(sessions, quote(at=0))
        got = [await updates.next()]

        for at in range(1, 4):
            await kill(postgres)
            assert (await client.report("/healthz"))[0] == 200
            await postgres.start()
            await insert(sessions, quote(at=at), quote("eth_usd", at=at))
            got += [await updates.next(), await updates.next()]

        assert [seq_of(each["cursor"]) for each in got] == list(range(1, 8))
        await wait(lambda: client.report("/readyz"), lambda report: report[0] == 200)


async def test_a_candle_subscription_goes_on_when_postgresql_is_back(
    postgres: Postgres, settings: Settings
) -> None:
    own = Settings(database_url=postgres.url, redis_url=settings.redis_url)
    now = (datetime.now(UTC) - NOON) // timedelta(minutes=1)
    async with open_engine(postgres.url, name="test") as engine, serving(own) as client:
        await insert(Sessions(engine), quote(at=now))
        await wait(lambda: client.report("/readyz"), lambda report: report[0] == 200)
        await kill(postgres)

        with structlog.testing.capture_logs() as entries:
            async with client.subscription(CANDLE) as updates:
                await until(
                    lambda: any((each["event"], each.get("subject")) == WAITING for each in entries)
                )
                await postgres.start()

                assert await updates.next() == {"close": "100000.5"}


async def test_a_worker_stores_what_it_fetched_while_postgresql_was_unavailable(
    postgres: Postgres, settings: Settings, exchange: Exchange
) -> None:
    async with (
        serve(exchange) as url,
        open_engine(postgres.url, name="test") as engine,
    ):
        sessions = Sessions(engine)
        own = settings.model_copy(
            update={"database_url": Settings(database_url=postgres.url).database_url}
            | {"deribit_url": url}
        )
        async with worker(own):
            send(own, minute(0))
            await logged(sessions, 2)
            for at in range(1, 5):
                await kill(postgres)
                exchange.clock = standing(minute(at))
                await asked_again(exchange, own, at)
                await postgres.start()
                await logged(sessions, 2 * (at + 1))

        found = await log(sessions)
        assert sorted(names(found)) == [
            (name, at) for name in ("btc_usd", "eth_usd") for at in range(5)
        ]
        assert [each.seq for each in found] == list(range(1, 11))


async def asked_again(exchange: Exchange, settings: Settings, at: int) -> None:
    """Have a worker request this minute, with nowhere to store the answer."""
    before = exchange.price_requests["btc_usd"]
    send(settings, minute(at))
    await until(lambda: exchange.price_requests["btc_usd"] > before)


async def test_messages_outlive_their_queue_s_server_and_the_worker_goes_on(
    valkey: Valkey, settings: Settings, sessions: Sessions, exchange: Exchange
) -> None:
    async with serve(exchange) as url:
        own = settings.model_copy(
            update={"redis_url": Settings(redis_url=valkey.url).redis_url, "deribit_url": url}
        )
        async with worker(own):
            send(own, minute(0), "btc_usd")
            await logged(sessions, 1)

            await kill(valkey)
            await valkey.start()
            send(own, minute(0), "eth_usd")
            await logged(sessions, 2)

        send(own, minute(0), "sol_usd")  # with no worker there, it waits in the queue
        await valkey.stop()
        await valkey.start()
        async with worker(own):
            await logged(sessions, 3)

    assert {each.ticker for each in await log(sessions)} == {"btc_usd", "eth_usd", "sol_usd"}


async def test_the_scheduler_goes_on_after_its_queue_and_its_database_were_restarted(
    postgres: Postgres, valkey: Valkey
) -> None:
    own = Settings(database_url=postgres.url, redis_url=valkey.url)
    async with running("workers.scheduler", own):
        await ticks(own, 1)

        await kill(valkey)
        await kill(postgres)
        await valkey.start()
        await postgres.start()

        await ticks(own, 2)


async def test_of_two_schedulers_one_leads_and_the_other_takes_over(
    settings: Settings,
) -> None:
    async with running("workers.scheduler", settings) as first:
        await ticks(settings, 1)
        async with running("workers.scheduler", settings):
            first.send_signal(signal.SIGKILL)
            await first.wait()

            await ticks(settings, 2)


async def ticks(settings: Settings, count: int) -> None:
    """Wait until the clock has sent its messages so many times; a scheduler that takes over
    fires once for the minute under way."""

    async def length() -> int:
        async with redis.asyncio.Redis.from_url(settings.require_redis_url()) as server:
            try:
                names = [f"{queue.namespace(settings)}:{name}" for name in queue.QUEUES]
                return sum([int(await server.llen(name)) for name in names])
            except redis.asyncio.RedisError:
                return 0

    await wait(length, lambda found: found >= count * AT_START)
