"""What cannot begin soon is refused at once and truly, and takes nothing from anyone else."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from client import Client, serving
from rows import insert, quote

from quotes.api.errors import Code, RefusedError
from quotes.database.sessions import Sessions
from quotes.server.limits import admission
from quotes.server.limits.admission import Admission
from quotes.settings import Settings

QUICK = '{ latestPrice(ticker: "BTC") { price } }'
DEAR = '{ prices(ticker: "BTC", first: 10000) { nodes { at price cursor observedAt } } }'


@pytest.fixture
async def full(settings: Settings) -> AsyncIterator[Client]:
    """A service, all of whose places for queries are taken."""
    two = settings.model_copy(update={"query_connections": 2, "query_wait": 0.01})
    async with serving(two) as client, AsyncExitStack() as places:
        await client.data("{ tickers { name } }")
        for _ in range(2):
            await places.enter_async_context(client.state.streams.admission.admitted())
        yield client


@pytest.fixture
async def full_of_dear(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    """A service, all of whose places for dear queries are taken."""
    await insert(sessions, quote())
    impatient = settings.model_copy(update={"query_wait": 0.01})
    async with serving(impatient) as client, AsyncExitStack() as places:
        await client.data("{ tickers { name } }")
        for _ in range(settings.query_connections // admission.DEAR_SHARE):
            await places.enter_async_context(
                client.state.streams.admission.admitted(admission.DEAR)
            )
        yield client


async def test_a_query_that_cannot_begin_is_refused_as_overloaded(full: Client) -> None:
    async with full.http.post(f"{full.url}/graphql", json={"query": QUICK}) as response:
        (error,) = (await response.json())["errors"]

    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    assert error["extensions"]["code"] == "OVERLOADED"


async def test_on_a_socket_it_is_an_error_of_that_operation(
    full: Client, sessions: Sessions
) -> None:
    async with full.subscription("subscription { priceUpdates { ticker } }") as updates:
        query = {"id": "q", "type": "subscribe", "payload": {"query": QUICK}}
        await updates.socket.send_json(query)
        message = await updates.message()

        assert (message["id"], message["type"]) == ("q", "error")
        assert message["payload"][0]["extensions"]["code"] == "OVERLOADED"

        await insert(sessions, quote(at=1))  # and the subscription goes on
        assert await updates.next() == {"ticker": "btc_usd"}


async def test_a_waiting_query_begins_when_another_ends() -> None:
    one = Admission(1, wait=20)
    order: list[int] = []

    async def query(number: int) -> None:
        async with one.admitted():
            order.append(number)

    await asyncio.gather(*map(query, range(5)))

    assert order == [*range(5)]


async def test_a_place_is_free_again_after_a_failure() -> None:
    one = Admission(1, wait=20)
    with pytest.raises(ValueError, match="no"):
        async with one.admitted():
            raise ValueError("no")

    async with one.admitted():
        pass


async def test_a_cheap_query_does_not_wait_for_dear_ones() -> None:
    eight = Admission(8, wait=20)
    running: list[int] = []

    async def query(points: int) -> None:
        async with eight.admitted(points):
            running.append(points)
            await asyncio.Event().wait()

    dear = [asyncio.create_task(query(admission.DEAR)) for _ in range(20)]
    await asyncio.sleep(0)
    cheap = [asyncio.create_task(query(admission.DEAR - 1)) for _ in range(6)]
    await asyncio.sleep(0)

    assert running == [admission.DEAR] * 2 + [admission.DEAR - 1] * 6
    assert eight.waiting == 18
    for each in (*dear, *cheap):
        each.cancel()
    await asyncio.gather(*dear, *cheap, return_exceptions=True)
    assert (eight.running, eight.waiting) == (0, 0)
    async with asyncio.timeout(60), eight.admitted(admission.DEAR):
        pass


async def test_while_dear_queries_are_refused_cheap_ones_are_answered(full_of_dear: Client) -> None:
    (error,) = (await full_of_dear.answer(DEAR))["errors"]

    assert error["extensions"]["code"] == "OVERLOADED"
    assert await full_of_dear.data(QUICK) == {"price": "100000.5"}


async def test_a_requests_wait_counts_from_its_arrival() -> None:
    """However long it was until the request could begin, and until its document was checked."""
    hasty, patient = Admission(1, wait=0), Admission(1, wait=3_600)

    async def request() -> None:
        await hasty.enter()
        with pytest.raises(RefusedError):
            await _visit(patient)

    async with patient.admitted(), asyncio.timeout(60):
        await asyncio.create_task(request())


async def test_a_full_queue_refuses_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_WAITING", 2)
    one = Admission(1, wait=20)
    async with one.admitted():
        waiting = [asyncio.create_task(_visit(one)) for _ in range(2)]
        await asyncio.sleep(0)

        with pytest.raises(RefusedError) as refused:
            await _visit(one)
    assert refused.value.code is Code.OVERLOADED
    await asyncio.gather(*waiting)


async def _visit(one: Admission) -> None:
    async with one.admitted():
        pass


async def test_many_that_are_refused_together_leave_rounds_of_the_event_loop_to_others() -> None:
    """Their waits end at once, and to write hundreds of answers in one round would hold all."""
    one = Admission(1, wait=0)
    refused_in_round = Counter[int]()
    now = 0

    async def query() -> None:
        with pytest.raises(RefusedError):
            await _visit(one)
        refused_in_round[now] += 1

    async with one.admitted():
        queries = [asyncio.create_task(query()) for _ in range(100)]
        while not all(each.done() for each in queries):
            now += 1
            await asyncio.sleep(0)

    assert sum(refused_in_round.values()) == 100
    assert max(refused_in_round.values()) <= admission.AT_ONCE


async def test_many_requests_that_come_together_begin_a_few_in_each_round_of_the_event_loop() -> (
    None
):
    entrance = Admission(1, wait=20)
    begun_in_round = Counter[int]()
    now = 0

    async def query() -> None:
        await entrance.enter()
        begun_in_round[now] += 1

    queries = [asyncio.create_task(query()) for _ in range(100)]
    while not all(each.done() for each in queries):
        now += 1
        await asyncio.sleep(0)

    assert sum(begun_in_round.values()) == 100
    assert max(begun_in_round.values()) <= admission.AT_ONCE
