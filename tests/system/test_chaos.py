"""Everything killed at any time, and every subscriber still sees the table: once, in order."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest
from client import PROTOCOL
from processes import Api, free_port, send, worker
from redis import RedisError
from rows import insert, log, minute, quote, seq_of, standing, wait

from quotes.client import AsyncClient
from quotes.database.errors import DatabaseError
from quotes.database.log import store
from quotes.database.maintenance import migrations
from quotes.database.sessions import Sessions, open_engine
from quotes.local.embedded import Postgres, Valkey
from quotes.settings import Settings
from workers.demo.exchange import Exchange, serve

SEED = int(os.environ.get("QUOTES_TEST_CHAOS_SEED", "20260131"))
ROUNDS = int(os.environ.get("QUOTES_TEST_CHAOS_ROUNDS", "6"))  # some 4 seconds each
WRITERS = 4
SUBSCRIBERS, CLIENTS = 60, 6
COLLECTED = 3  # seconds that a minute's message has before the next is sent
WORKERS_TICKERS = ["btc_usd", "eth_usd"]  # those of the messages; others are the writers'
SLOW, RESTLESS = 7, 5  # every so manieth reads slowly, or leaves now and then by itself
UPDATES = "subscription ($after: String) { priceUpdates(after: $after) { cursor } }"


def dice_of(name: str) -> random.Random:
    return random.Random(f"{SEED} {name}")  # noqa: S311  # no secret


class Subscriber:
    """Goes on from the last cursor it saw, at whichever web process answers."""

    def __init__(self, number: int, http: aiohttp.ClientSession, urls: list[str]) -> None:
        self.dice = dice_of(f"subscriber {number}")
        self.http = http
        self.urls = urls
        self.slow = number % SLOW == 0
        self.restless = number % RESTLESS == 0
        self.after = "s0"
        self.seen: list[int] = []

    async def run(self) -> None:
        while True:
            with suppress(aiohttp.ClientError, TypeError, OSError):
                await self._subscribe(self.dice.choice(self.urls))
            await asyncio.sleep(self.dice.uniform(0.05, 0.3))

    async def _subscribe(self, url: str) -> None:
        async with self.http.ws_connect(url, protocols=[PROTOCOL], max_msg_size=0) as socket:
            await socket.send_json({"type": "connection_init"})
            assert (await socket.receive_json())["type"] == "connection_ack"
            payload = {"query": UPDATES, "variables": {"after": self.after}}
            await socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
            while True:
                message = await socket.receive_json()  # TypeError where the socket was closed
                assert message["type"] == "next", message
                self.after = message["payload"]["data"]["priceUpdates"]["cursor"]
                self.seen.append(seq_of(self.after))
                if self.slow:
                    await asyncio.sleep(0.01)
                if self.restless and self.dice.random() < 0.01:
                    return


class ClientSubscriber:
    """The Python client, which goes on by itself. One keeps to one web process."""

    def __init__(self, number: int, urls: list[str]) -> None:
        self.url = urls[number % len(urls)]
        self.seen: list[int] = []

    async def run(self) -> None:
        async with AsyncClient(self.url, silence=1.0, attempts=15) as client:
            async for quote in client.follow(after="s0"):
                self.seen.append(seq_of(quote.cursor))


async def write(number: int, sessions: Sessions, stop: asyncio.Event) -> None:
    """Batches of a ticker of its own, each retried until it is known to be committed."""
    dice = dice_of(f"writer {number}")
    at = 0
    while not stop.is_set():
        batch = [quote(f"t{number}_usd", each) for each in range(at, at + dice.randint(1, 5))]
        try:
            await insert(sessions, *batch)
        except DatabaseError:
            await asyncio.sleep(0.1)
        else:
            at += len(batch)
            await asyncio.sleep(dice.uniform(0, 0.05))


async def order(
    settings: Settings, exchange: Exchange, sessions: Sessions, stop: asyncio.Event
) -> None:
    """The scheduler's messages, while there is a queue.

    The exchange's clock stands in a minute until that is collected, since it would be refused
    later; for at most COLLECTED seconds, since a calamity may have taken the message.
    """
    at = 0
    while not stop.is_set():
        exchange.clock = standing(minute(at))
        with suppress(RedisError, TimeoutError, DatabaseError):
            await asyncio.to_thread(send, settings, minute(at))
            async with asyncio.timeout(COLLECTED):
                await _until_collected(sessions, minute(at), stop)
        at += 1
        await asyncio.sleep(0.1)


async def _until_collected(sessions: Sessions, minute: datetime, stop: asyncio.Event) -> None:
    while not stop.is_set():
        async with sessions() as session:
            newest = await store.newest(session, WORKERS_TICKERS)
        if [each.minute for each in newest] == [minute] * len(WORKERS_TICKERS):
            return
        await asyncio.sleep(0.05)


async def collected(sessions: Sessions) -> bool:
    """Whether the worker has stored a quote of each of its tickers."""
    async with sessions() as session:
        return len(await store.newest(session, WORKERS_TICKERS)) == len(WORKERS_TICKERS)


async def last_seen(
    everyone: Sequence[Subscriber | ClientSubscriber], readers: list[asyncio.Task[None]]
) -> list[list[int]]:
    """What each saw last. Raises what ended a reader, which should read for ever."""
    for reader in readers:
        if reader.done():
            await reader
    return [each.seen[-1:] for each in everyone]


@asynccontextmanager
async def running(*tasks: asyncio.Task[None]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def servers(folder: Path) -> AsyncIterator[tuple[Postgres, Valkey]]:
    """Whatever is committed outlives them (no synchronous_commit=off here)."""
    postgres = Postgres(folder / "postgres", options={"fsync": "off"})
    valkey = Valkey(folder / "valkey")
    await postgres.start()
    await valkey.start()
    await asyncio.to_thread(migrations.migrate, postgres.url)
    yield postgres, valkey
    await valkey.stop()
    await postgres.stop()


async def test_whatever_is_killed_every_subscriber_sees_the_whole_table_once_and_in_order(
    servers: tuple[Postgres, Valkey],
) -> None:
    postgres, valkey = servers
    exchange = Exchange()
    settings = Settings(database_url=postgres.url, redis_url=valkey.url)
    apis = [Api(settings, free_port()) for _ in range(2)]
    dice = dice_of("calamities")
    stop = asyncio.Event()
    async with (
        open_engine(postgres.url, name="test") as engine,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        serve(exchange) as exchange_url,
        AsyncExitStack() as worked,
    ):
        ours = settings.model_copy(update={"deribit_url": exchange_url})
        await worked.enter_async_context(worker(ours))
        sessions = Sessions(engine)
        urls = [api.url for api in apis]
        everyone: list[Subscriber | ClientSubscriber] = [
            *(Subscriber(number, http, urls) for number in range(SUBSCRIBERS)),
            *(ClientSubscriber(number, urls) for number in range(CLIENTS)),
        ]
        for api in apis:
            await api.start()
        writers = [asyncio.create_task(write(each, sessions, stop)) for each in range(WRITERS)]
        writers.append(asyncio.create_task(order(ours, exchange, sessions, stop)))
        readers = [asyncio.create_task(each.run()) for each in everyone]
        try:
            async with running(*writers, *readers):
                await wait(lambda: collected(sessions), bool)  # by then the worker has started
                for _ in range(ROUNDS):
                    await asyncio.sleep(dice.uniform(0.5, 3))
                    await calamity(dice, postgres, valkey, apis)
                stop.set()
                await asyncio.gather(*writers)
                await worked.aclose()  # nothing is written any more
                table = await log(sessions)
                written = [each.seq for each in table]

                await wait(
                    lambda: last_seen(everyone, readers),
                    lambda last: all(seen == written[-1:] for seen in last),
                )
        finally:
            for api in apis:
                await api.end(signal.SIGTERM)

    assert set(WORKERS_TICKERS) < {each.ticker for each in table}
    assert written == list(range(1, len(written) + 1))
    assert [each.seen == written for each in everyone] == [True] * len(everyone)


async def calamity(
    dice: random.Random, postgres: Postgres, valkey: Valkey, apis: list[Api]
) -> None:
    """Kill one of them, or two at once, and start it again."""
    everything: list[Postgres | Valkey | Api] = [postgres, valkey, *apis]
    for victim in dice.sample(everything, dice.randint(1, 2)):
        if isinstance(victim, Api):
            await victim.end()
        else:
            victim.kill()
            await victim.wait()
        await asyncio.sleep(dice.uniform(0, 0.5))
        await victim.start()
