"""What a client of server-sent events receives, and what it does not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from client import Client, serving
from rows import cursor, insert, quote, seq_of

from quotes.database.sessions import Sessions
from quotes.server.streams import sse
from quotes.settings import Settings

UPDATES = "subscription ($after: String) { priceUpdates(after: $after) { price cursor } }"
TICKERS = "{ tickers { name } }"
URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, "
    "text/event-stream, multipart/mixed"
)


class Stream:
    """One answer's events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def event(self) -> dict[str, str]:
        """The next event's fields; comments and `retry` are passed over; {} at the end."""
        while True:
            fields: dict[str, str] = {}
            async with asyncio.timeout(60):
                while line := (await self.response.content.readline()).decode():
                    assert not line.endswith("\r\n")
                    if line == "\n":
                        break
                    name, _, value = line.removesuffix("\n").partition(":")
                    fields[name] = value.removeprefix(" ")
            if not line or "event" in fields:
                return fields

    async def next(self) -> tuple[str, Any]:
        """The id of the next event, and its payload."""
        event = await self.event()
        assert event["event"] == "next", event
        return event.get("id", ""), json.loads(event["data"])


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings.model_copy(update={"max_sockets_per_address": 2})) as client:
        yield client


@asynccontextmanager
async def opened(
    client: Client, query: str, *, resume: str | None = None, **variables: object
) -> AsyncIterator[Stream]:
    """As a browser's EventSource requests it: by GET, all in the URL."""
    headers = {"Accept": "text/event-stream"}
    if resume is not None:
        headers["Last-Event-ID"] = resume
    parameters = {"query": query, "variables": json.dumps(variables)}
    async with client.http.get(
        f"{client.url}/graphql", params=parameters, headers=headers
    ) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield Stream(response)


async def test_quotes_come_as_events_with_their_cursor_as_id(
    client: Client, sessions: Sessions
) -> None:
    one, two = quote(at=1, price="1"), quote(at=2, price="2")
    await insert(sessions, one)
    async with opened(client, UPDATES) as stream:
        first = await stream.next()
        await insert(sessions, two)
        second = await stream.next()

    for event, price, place in ((first, "1", cursor(1, one)), (second, "2", cursor(2, two))):
        assert event == (place, {"data": {"priceUpdates": {"price": price, "cursor": place}}})


async def test_the_last_event_id_goes_before_after(client: Client, sessions: Sessions) -> None:
    await insert(sessions, *(quote(at=at) for at in range(5)))
    async with opened(client, UPDATES, resume=cursor(3, quote(at=2)), after="s0") as stream:
        ids = [seq_of((await stream.next())[0]) for _ in range(2)]

    assert ids == [4, 5]


async def test_a_cursor_of_another_log_is_answered_with_the_reason_and_then_the_newest_quotes(
    client: Client, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=1, price="1"))
    for lost in (cursor(1, quote(at=1, price="2")), cursor(9, quote())):
        async with opened(client, UPDATES, resume=lost) as stream:
            reason = await stream.event()
            newest, _ = await stream.next()

        assert reason["id"] == ""  # so that an EventSource forgets the lost one
        (error,) = json.loads(reason["data"])["errors"]
        assert error["extensions"]["code"] == "CURSOR_LOST"
        assert newest == cursor(1, quote(at=1, price="1"))


async def test_a_subscription_by_post_streams_too(client: Client, sessions: Sessions) -> None:
    await insert(sessions, quote(at=1))
    async with client.http.post(
        f"{client.url}/graphql",
        json={"query": UPDATES, "variables": {"after": "s0"}},
        headers={"Accept": URQL},
    ) as response:
        assert seq_of((await Stream(response).next())[0]) == 1


async def test_a_query_with_urql_s_header_is_answered_with_json(client: Client) -> None:
    for query in (TICKERS, "{ nope }"):
        async with client.http.post(
            f"{client.url}/graphql", json={"query": query}, headers={"Accept": URQL}
        ) as response:
            assert response.headers["content-type"].startswith("application/")
            assert "json" in response.headers["content-type"]
            assert await response.json()


async def test_a_query_whose_client_likes_events_best_is_one_event_and_complete(
    client: Client,
) -> None:
    async with opened(client, TICKERS) as stream:
        names = [{"name": "btc_usd"}, {"name": "eth_usd"}]
        assert await stream.next() == ("", {"data": {"tickers": names}})
        assert await stream.event() == {"event": "complete", "id": "complete", "data": ""}
        assert await stream.event() == {}


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("{ nope }", {}, "BAD_INPUT"),
        ("subscription {", {}, "BAD_INPUT"),
        ("subscription A { priceUpdates { at } } query B { a: __typename }", {}, "BAD_INPUT"),
        (UPDATES, {"after": "s7"}, "BAD_INPUT"),
        (UPDATES, {"after": "nonsense"}, "BAD_INPUT"),
        ('subscription { priceUpdates(tickers: ["doge"]) { price } }', {}, "UNKNOWN_TICKER"),
    ],
)
async def test_an_error_is_sent_as_an_event(
    client: Client, query: str, variables: dict[str, str], code: str
) -> None:
    async with opened(client, query, **variables) as stream:
        _, payload = await stream.next()
        assert payload["errors"][0]["extensions"]["code"] == code
        last = await stream.event()
        assert last["event"] == "complete"
    async with client.http.get(
        f"{client.url}/graphql",
        params={"query": query},
        headers={"Accept": "text/event-stream", "Last-Event-ID": last["id"]},
    ) as again:
        assert again.status == 204  # without which an EventSource would come again for ever


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'{"query": 7}', b"\xff", b"[" * 50_000, b'{"query": NaN}']
)
async def test_a_malformed_request_is_400(client: Client, body: bytes) -> None:
    async with client.http.post(
        f"{client.url}/graphql",
        data=body,
        headers={"Accept": "text/event-stream", "Content-Type": "application/json"},
    ) as response:
        assert response.status == 400
        assert (await response.json())["errors"][0]["extensions"]["code"] == "BAD_INPUT"


async def test_an_idle_stream_is_held_open_by_comments(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT", 0.01)
    async with opened(client, UPDATES) as stream:
        async with asyncio.timeout(60):
            while await stream.response.content.readline() != b":\n":
                pass


async def test_streams_of_events_are_counted_with_sockets_and_bounded(client: Client) -> None:
    async with opened(client, UPDATES), client.acknowledged_socket():
        async with client.http.get(
            f"{client.url}/graphql",
            params={"query": UPDATES},
            headers={"Accept": "text/event-stream"},
        ) as third:
            assert third.status == 503
            assert (await third.json())["errors"][0]["extensions"]["code"] == "TOO_MANY"
        assert (await client.report("/readyz"))[1]["connections"] == 2


async def test_when_the_service_ends_a_stream_ends_without_complete_and_resumes_elsewhere(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=1))
    async with aiohttp.ClientSession() as http:
        async with serving(settings) as service:
            response = await http.get(
                f"{service.url}/graphql",
                params={"query": UPDATES},
                headers={"Accept": "text/event-stream"},
            )
            last, _ = await Stream(response).next()
        assert await Stream(response).event() == {}

    await insert(sessions, quote(at=2))
    async with serving(settings) as service, opened(service, UPDATES, resume=last) as stream:
        assert seq_of((await stream.next())[0]) == 2
