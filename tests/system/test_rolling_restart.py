"""Two API processes behind nginx, restarted one after the other while they are used."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import aiohttp
from client import Client, connected
from nginx import needs_nginx, nginx
from processes import Api, free_port
from rows import insert, quote, seq_of, until, wait

from quotes.database.log import store
from quotes.database.sessions import Sessions
from quotes.settings import Settings

QUERIES = ["{ latestPrices { price } }", '{ prices(ticker: "BTC", first: 5) { nodes { price } } }']
UPDATES = "subscription ($after: String) { priceUpdates(after: $after) { cursor } }"


@dataclass
class Seen:
    """What the clients have seen."""

    answered: int = 0
    failed: list[object] = field(default_factory=list)
    by_socket: list[int] = field(default_factory=list)  # the seq of each event
    by_events: list[int] = field(default_factory=list)


async def query(client: Client, seen: Seen, document: str) -> None:
    """Without pause. Whatever is not an answer has failed."""
    while True:
        try:
            whole = await client.answer(document)
        except (aiohttp.ClientError, TimeoutError) as error:
            seen.failed.append(error)
        else:
            seen.answered += 1
            seen.failed += whole.get("errors", [])


async def follow_by_socket(client: Client, seen: Seen) -> None:
    """Reconnects with the last cursor, as graphql-ws does."""
    after = "s0"
    while True:
        with suppress(aiohttp.ClientError):
            async with client.acknowledged_socket() as socket:
                payload = {"query": UPDATES, "variables": {"after": after}}
                await socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
                async for message in socket:
                    after = message.json()["payload"]["data"]["priceUpdates"]["cursor"]
                    seen.by_socket.append(seq_of(after))


async def follow_by_events(client: Client, seen: Seen) -> None:
    """Reconnects with the last id, as an EventSource does."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "s0"}
    url, body, endless = f"{client.url}/graphql", {"query": UPDATES}, aiohttp.ClientTimeout()
    while True:
        with suppress(aiohttp.ClientError):
            async with client.http.post(url, json=body, headers=headers, timeout=endless) as stream:
                async for line in stream.content:
                    if line.startswith(b"data: {"):
                        cursor = json.loads(line[6:])["data"]["priceUpdates"]["cursor"]
                        headers["Last-Event-ID"] = cursor
                        seen.by_events.append(seq_of(cursor))


async def write(sessions: Sessions) -> None:
    for at in count(1):
        await insert(sessions, quote(at=at))


async def ready(api: Api, client: Client) -> bool:
    try:
        async with client.http.get(api.url.replace("/graphql", "/readyz")) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def top(sessions: Sessions) -> int:
    async with sessions() as session:
        return await store.high_water(session)


@asynccontextmanager
async def under_load(client: Client, sessions: Sessions) -> AsyncIterator[Seen]:
    """Queries, quotes and subscribers. At the end the subscribers have had time to catch up."""
    seen = Seen()
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(write(sessions))
        others = [
            *(group.create_task(query(client, seen, document)) for document in QUERIES),
            group.create_task(follow_by_socket(client, seen)),
            group.create_task(follow_by_events(client, seen)),
        ]
        yield seen
        writing.cancel()
        await asyncio.wait([writing])
        last = await top(sessions)
        await until(lambda: seen.by_socket[-1:] == seen.by_events[-1:] == [last], seconds=60)
        for task in others:
            task.cancel()


async def served_further(seen: Seen) -> None:
    answered, events = seen.answered, len(seen.by_socket)
    await until(lambda: seen.answered > answered and len(seen.by_socket) > events)


@needs_nginx
async def test_no_query_fails_and_no_event_is_lost_or_doubled_while_each_process_is_restarted(
    settings: Settings, sessions: Sessions, folder: Path
) -> None:
    more = {"QUOTES_ROOT_PATH": "/prices", "QUOTES_TRUSTED_PROXIES": "127.0.0.1"}
    apis = [Api(settings, free_port(), **more) for _ in range(2)]
    await insert(sessions, quote())
    async with (
        AsyncExitStack() as stack,
        nginx(folder, *(api.port for api in apis)) as url,
        connected(url) as client,
    ):
        for api in apis:
            await api.start()
            stack.push_async_callback(api.end)
        for api in apis:
            await wait(partial(ready, api, client), bool)
        async with under_load(client, sessions) as seen:
            for api in apis:
                await api.end(signal.SIGTERM)
                await served_further(seen)
                await api.start()
                await wait(partial(ready, api, client), bool)

        assert seen.failed == []
        assert seen.by_socket == seen.by_events == list(range(1, await top(sessions) + 1))
