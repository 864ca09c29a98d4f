"""What a stranger may send: so many bytes, in so much time, on so many connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from client import PROTOCOL, Client, serving
from connection import HEAD, POST, QUERY, UPGRADE, Connection, connection
from rows import until

from quotes.server.limits.connection_limits import network_of
from quotes.settings import Settings

SLOW = {"first_byte_timeout": 0.5, "header_timeout": 0.5, "body_timeout": 0.5, "keep_alive": 1}
LATEST = b'{"query": "{ latestPrices { price } }"}'
CACHED = HEAD + b"Content-Length: %d\r\n\r\n" % len(LATEST) + LATEST
HALF = HEAD + b"Content-Length: 400\r\n\r\n" + b"{"
UPDATES = "subscription { priceUpdates { cursor } }"


def limited(database_url: str, **values: object) -> Settings:
    return Settings.model_validate({"database_url": database_url, **values})


@pytest.fixture(scope="module")
async def client(database_url: str) -> AsyncIterator[Client]:
    async with serving(limited(database_url)) as client:
        yield client


@pytest.fixture(scope="module")
async def hasty(database_url: str) -> AsyncIterator[Client]:
    """A service that waits for nobody."""
    async with serving(limited(database_url, body_rate=1, **SLOW)) as client:
        yield client


def with_fields(begin: bytes, count: int, value: bytes = b"b") -> bytes:
    return begin + b"".join(b"A%d: %b\r\n" % (each, value) for each in range(count)) + b"\r\n"


CHUNK = b"%x\r\n%b\r\n" % (len(QUERY), QUERY)


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
EXCESSIVE: dict[str, tuple[int, bytes]] = {
    "a URL": (414, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "a URL without an end": (414, b"GET /" + b"a" * 100_000),
    "headers": (431, with_fields(HEAD, 10, b"b" * 2_000)),
    "many headers": (431, with_fields(HEAD, 120)),
    "many headers of a handshake": (431, with_fields(UPGRADE, 120)),
    "a header without an end": (431, HEAD + b"A: " + b"b" * 1_000_000),
    "a header's name": (431, HEAD + b"A" * 1_000_000),
    "empty lines": (431, b"\r\n" * 500_000),
    "a chunk's extension": (431, CHUNKED + b"5;" + b"a" * 1_000_000),
    "a trailer": (431, CHUNKED + CHUNK + b"0\r\nA: " + b"b" * 1_000_000),
    "a body": (413, HEAD + b"Content-Length: 1000000\r\n\r\n" + b" " * 1_000_000),
    "a body in chunks": (413, CHUNKED + (b"4000\r\n" + b" " * 0x4000 + b"\r\n") * 20),
    "another protocol": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "a header that is none": (400, b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n"),
    "two lengths": (400, HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
}


@pytest.mark.parametrize("excess", EXCESSIVE)
async def test_what_is_too_long_is_refused_with_its_status_and_the_connection_closed(
    client: Client, excess: str
) -> None:
    status, request = EXCESSIVE[excess]
    async with connection(client.url) as stranger:
        answer = await stranger.ask(request)

        assert (answer.status, answer.code) == (status, "BAD_INPUT")
        assert answer.headers["connection"] == "close"
        assert await stranger.rest() == b""


@pytest.mark.parametrize(
    "handshake",
    [
        UPGRADE + b"A: " + b"b" * 9_000 + b"\r\n\r\n",
        UPGRADE.replace(b"/graphql", b"/\xff") + b"\r\n",
    ],
)
async def test_a_handshake_that_is_none_is_refused(client: Client, handshake: bytes) -> None:
    async with connection(client.url) as stranger:
        answer = await stranger.ask(handshake)

        assert answer.status in {400, 431}
        assert await stranger.rest() == b""


async def test_what_is_within_the_limits_is_answered_in_whatever_pieces_it_comes(
    client: Client,
) -> None:
    request = HEAD + b"".join(b"A%d: %b\r\n" % (each, b"b" * 1_000) for each in range(15))
    request += b"Content-Length: %d\r\n\r\n" % len(QUERY) + QUERY
    async with connection(client.url) as honest:
        for _ in range(3):
            for at in range(0, len(request), 1_000):
                await honest.send(request[at : at + 1_000])
            assert (await honest.answer()).status == 200
        await honest.send(POST * 20 + POST[:40])
        assert [(await honest.answer()).status for _ in range(20)] == [200] * 20
        assert (await honest.ask(POST[40:])).status == 200


async def test_who_says_nothing_is_dropped_without_a_word(hasty: Client) -> None:
    async with connection(hasty.url) as silent:
        assert await silent.rest() == b""


@pytest.mark.parametrize("begin", [b"G", HEAD, b"\r\n", HALF], ids=["byte", "line", "end", "body"])
async def test_who_does_not_end_its_request_is_refused_and_dropped(
    hasty: Client, begin: bytes
) -> None:
    async with connection(hasty.url) as slow:
        answer = await slow.ask(begin)

        assert (answer.status, answer.code) == (408, "BAD_INPUT")
        assert await slow.rest() == b""


async def test_a_second_request_that_does_not_end_is_dropped_too(hasty: Client) -> None:
    async with connection(hasty.url) as slow:
        assert (await slow.ask()).status == 200
        assert (await slow.ask(POST[:20])).status == 408


@pytest.mark.parametrize("packets", [[POST], [POST[: -len(QUERY)], QUERY], [POST[:20], POST[20:]]])
async def test_a_connection_without_a_further_request_is_closed(
    hasty: Client, packets: list[bytes]
) -> None:
    async with connection(hasty.url) as idle:
        for _ in range(2):
            for packet in packets:
                await idle.send(packet)
                await asyncio.sleep(0)
            assert (await idle.answer()).status == 200
        assert await idle.rest() == b""


async def test_empty_lines_are_no_request_that_ends(hasty: Client) -> None:
    async with connection(hasty.url) as slow:
        assert (await slow.ask()).status == 200
        assert (await slow.ask(b"\r\n\r\n")).status == 408


async def test_a_body_that_comes_at_the_least_rate_is_waited_for(hasty: Client) -> None:
    body = QUERY + b" " * 100
    async with connection(hasty.url) as steady, connection(hasty.url) as slow:
        await steady.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:-1])
        assert (await slow.ask(HALF)).status == 408  # which began later

        assert (await steady.ask(body[-1:])).status == 200


async def busy(stack: AsyncExitStack, client: Client, source: str = "127.0.0.1") -> Connection:
    """A connection with half a request, which the server has seen."""
    connections = client.server.server_state.open_connections

    def under_way() -> int:
        return int(connections.open - len(connections._idle))

    before = under_way()
    opened = await stack.enter_async_context(connection(client.url, source=source))
    await opened.send(HALF)
    await until(lambda: under_way() == before + 1)
    return opened


async def test_a_request_has_no_task_until_all_of_its_body_has_arrived(client: Client) -> None:
    async with AsyncExitStack() as stack:
        slow = await busy(stack, client)

        assert client.server.server_state.tasks == set()
        assert (await slow.ask(QUERY[1:].ljust(399))).status == 200


async def test_beyond_an_address_s_limit_a_connection_is_refused_and_others_are_served(
    database_url: str,
) -> None:
    settings = limited(database_url, max_connections_per_address=2)
    async with serving(settings) as client, AsyncExitStack() as stack:
        await busy(stack, client)
        await busy(stack, client)

        async with connection(client.url) as third, connection(client.url) as silent:
            answer = await third.ask()
            assert (answer.status, answer.code) == (503, "TOO_MANY")
            assert int(answer.headers["retry-after"]) > 0
            assert await third.rest() == await silent.rest() == b""
        async with connection(client.url, source="127.0.0.2") as other:
            assert (await other.ask()).status == 200


async def test_at_the_limit_of_all_a_new_connection_takes_the_place_of_the_one_idle_longest(
    database_url: str,
) -> None:
    async with (
        serving(limited(database_url, max_connections=3)) as client,
        AsyncExitStack() as stack,
        connection(client.url, source="127.0.0.2") as answered,
        connection(client.url, source="127.0.0.3") as silent,
    ):
        await until(lambda: client.server.server_state.open_connections.open == 2)
        assert (await answered.ask()).status == 200  # so that the other is idle longer
        first = await busy(stack, client)

        async with connection(client.url) as fourth:
            assert (await fourth.ask()).status == 200
            assert await silent.rest() == b""
            assert (await answered.ask()).status == 200
            assert (await first.ask(QUERY.ljust(400)[1:])).status == 200
        for number in range(10, 13):
            await busy(stack, client, f"127.0.0.{number}")
        async with connection(client.url) as last:
            assert (await last.ask()).status == 503


async def test_a_connection_with_cached_answers_is_not_the_one_idle_longest(
    database_url: str,
) -> None:
    async with (
        serving(limited(database_url, max_connections=2)) as client,
        connection(client.url, source="127.0.0.2") as used,
    ):
        for _ in range(2):
            assert (await used.ask(CACHED)).status == 200
        async with connection(client.url, source="127.0.0.3") as silent:
            await until(lambda: client.server.server_state.open_connections.open == 2)
            assert (await used.ask(CACHED)).status == 200

            async with connection(client.url) as third:
                assert (await third.ask()).status == 200
                assert await silent.rest() == b""
                assert (await used.ask()).status == 200


async def test_sockets_and_event_streams_are_no_connections_of_requests(database_url: str) -> None:
    settings = limited(database_url, max_connections_per_address=1)
    async with serving(settings) as client:
        connections = client.server.server_state.open_connections
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(client.acknowledged_socket())
                await stack.enter_async_context(
                    client.http.post(
                        f"{client.url}/graphql",
                        json={"query": UPDATES},
                        headers={"Accept": "text/event-stream"},
                    )
                )
            await until(lambda: connections.open == 0)
            assert await client.data("{ __typename }") == "Query"
        assert await client.data("{ __typename }") == "Query"
        await until(lambda: connections.open <= 1)


@pytest.mark.parametrize("trusted", [False, True])
async def test_forwarded_addresses_are_believed_of_trusted_proxies_only(
    database_url: str, *, trusted: bool
) -> None:
    proxies = ("127.0.0.0/24",) if trusted else ()
    settings = limited(
        database_url,
        trusted_proxies=proxies,
        max_sockets_per_address=1,
        max_connections_per_address=2,
    )
    codes = []
    async with serving(settings) as client, AsyncExitStack() as stack:
        for address in ("192.0.2.1", "192.0.2.2", "198.51.100.9, 192.0.2.2"):
            socket = await stack.enter_async_context(
                client.http.ws_connect(
                    f"{client.url}/graphql",
                    protocols=[PROTOCOL],
                    headers={"X-Forwarded-For": address},
                )
            )
            await socket.send_json({"type": "connection_init"})
            await socket.receive(timeout=20)
            codes.append(socket.close_code)

        assert codes == ([None, None, 1013] if trusted else [None, 1013, 1013])


async def test_a_trusted_proxy_has_as_many_connections_as_it_needs(database_url: str) -> None:
    settings = limited(database_url, trusted_proxies="127.0.0.1", max_connections_per_address=1)
    async with serving(settings) as client, AsyncExitStack() as stack:
        for _ in range(3):
            await busy(stack, client)
        async with connection(client.url) as another:
            assert (await another.ask()).status == 200


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_addresses_of_one_user_are_counted_as_one(one: str, other: str) -> None:
    assert network_of(one) == network_of(other)


def test_addresses_of_different_users_are_not() -> None:
    addresses = ["2001:db8:1:2::1", "2001:db8:1:3::1", "192.0.2.1", "192.0.2.2", "unknown"]

    assert len(set(map(network_of, addresses))) == len(addresses)


async def test_64_mb_of_headers_are_not_taken(client: Client) -> None:
    """Nor are they waited for: the refusal comes while they are sent."""
    async with connection(client.url) as stranger:
        await stranger.send(HEAD + b"A: ")
        answer = asyncio.create_task(stranger.answer())
        sent = 0
        while not answer.done() and sent < 64 << 20:
            await stranger.send(b"b" * 65_536)
            sent += 65_536

        assert (await answer).status == 431
        assert sent < 16 << 20
