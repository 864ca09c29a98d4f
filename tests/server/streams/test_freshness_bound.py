"""No request sees a price older than a commit that was finished BOUND before it began.

Judged by the order of what this test recorded: a request began after its time was noted, and a
commit was finished before.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import aiohttp
import asyncpg
from client import Client, connected, serving
from processes import Api, free_port
from rows import insert, quote, wait

from quotes.database.sessions import Sessions
from quotes.live.newest import BOUND
from quotes.settings import Settings

ROUNDS = 4  # or more, until enough different prices were seen
ENOUGH = 11
COMMITS = 5  # in a round, under load
SILENT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'quotes-feed'"
)
# Each with what it shows as the newest price.
QUERIES: list[tuple[str, Callable[[Any], str]]] = [
    ('{ latestPrice(ticker: "BTC") { price } }', lambda quote: quote["price"]),
    ('{ latestPrice(ticker: "BTC") { price ageSeconds } }', lambda quote: quote["price"]),
    (
        '{ prices(ticker: "BTC", last: 1) { nodes { price } } }',
        lambda page: page["nodes"][-1]["price"],
    ),
    (
        '{ series(ticker: "BTC", maxPoints: 10000) { prices } }',
        lambda series: series["prices"][-1],
    ),
]


@dataclass
class Record:
    """What was finished, and what was seen, by the loop's clock."""

    loaded: asyncio.Event = field(default_factory=asyncio.Event)  # requests are to be sent
    committed: list[float] = field(default_factory=list)  # when the n-th was, at the latest
    seen: list[tuple[float, int]] = field(default_factory=list)  # a request's begin, its price

    def late(self) -> list[tuple[float, int, int]]:
        """Requests that saw less than they had to: when, what, and what was to be seen."""
        return [
            (begun, price, least)
            for begun, price in self.seen
            if price < (least := bisect_right(self.committed, begun - BOUND))
        ]


async def request(
    client: Client,
    query: str,
    newest: Callable[[Any], str],
    record: Record,
    goes_on: Callable[[], bool],
) -> None:
    while goes_on():
        await record.loaded.wait()
        begun = asyncio.get_running_loop().time()
        found = newest(await client.data(query))
        record.seen.append((begun, int(found)))


async def test_no_request_sees_a_price_older_than_is_promised(
    settings: Settings, sessions: Sessions
) -> None:
    record, rounds = Record(), 0

    def goes_on() -> bool:
        return rounds < ROUNDS or len({price for _, price in record.seen}) < ENOUGH

    async def commit() -> None:
        number = len(record.committed) + 1
        await insert(sessions, quote(at=number, price=str(number)))
        record.committed.append(asyncio.get_running_loop().time())

    await commit()
    async with two_processes(settings) as clients, asyncio.timeout(120):
        connection = await asyncpg.connect(settings.require_database_url())
        async with asyncio.TaskGroup() as requests:
            for client, (query, newest) in product(clients, QUERIES):
                requests.create_task(request(client, query, newest, record, goes_on))
            while goes_on():
                record.loaded.set()
                for _ in range(COMMITS):
                    await commit()
                record.loaded.clear()
                await connection.execute(SILENT)  # for half a second
                await commit()  # which no notification and no request lets the feed read
                await asyncio.sleep(2 * BOUND)
                rounds += 1
            record.loaded.set()
        await connection.close()

    assert record.late() == []


@asynccontextmanager
async def two_processes(settings: Settings) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        api = Api(settings, free_port())
        await api.start()
        stack.push_async_callback(api.end)
        other = await stack.enter_async_context(connected(api.url.removesuffix("/graphql")))
        this = await stack.enter_async_context(serving(settings))
        await wait(lambda: is_ready(other), bool)
        yield [this, other]


async def is_ready(client: Client) -> bool:
    try:
        status, _ = await client.report("/readyz")
    except aiohttp.ClientError:
        return False
    return status == 200
