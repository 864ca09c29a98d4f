"""What each client may spend in a minute."""

import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
from client import Client, serving
from rows import insert, quote

from quotes.api.errors import Code, RefusedError
from quotes.database import tokens
from quotes.database.sessions import Sessions
from quotes.server.limits.budgets import Budgets
from quotes.settings import MAX_COST, Settings


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_what_is_spent_is_restored_over_a_minute() -> None:
    clock = Clock()
    budgets = Budgets(6_000, clock=clock)
    budgets.spend("a", 6_000)
    budgets.spend("b", 1)  # another's

    with pytest.raises(RefusedError) as refused:
        budgets.spend("a", 500)

    assert refused.value.code is Code.THROTTLED
    assert refused.value.more == {"retryAfter": 5.0}
    clock.now += 5
    budgets.spend("a", 500)


def test_what_an_operation_does_not_cost_is_given_back() -> None:
    budgets = Budgets(2_000, clock=Clock())
    for _ in range(3):
        payment = budgets.payment()
        payment.pay(1_000)
        payment.settle(10)

    payment.pay(1_970)
    with pytest.raises(RefusedError):
        payment.pay(1)


def test_no_more_clients_are_remembered_than_may_be() -> None:
    clock = Clock()
    budgets = Budgets(1_000, clock=clock, most_clients=10)
    for number in range(100):
        budgets.spend(str(number), 1_000)
        assert len(budgets) <= 10

    clock.now += 60  # all have whole budgets again
    for number in range(8):
        budgets.spend(str(number), 1)
    assert len(budgets) <= 10


def test_nobody_has_a_budget_unless_one_is_set() -> None:
    payment = Budgets(Settings().points_per_minute).payment()
    for _ in range(100):
        payment.pay(MAX_COST)


QUOTE = "ticker price at timestamp observedAt source origin cursor ageSeconds stale collected"
DEAR = f'{{ prices(ticker: "BTC", first: 10000) {{ nodes {{ {QUOTE} }} }} }}'


@pytest.fixture
async def spent(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    """This address has spent its whole budget, of which a minute restores a dear query's."""
    await insert(sessions, quote(at=0))
    limited = settings.model_copy(update={"points_per_minute": MAX_COST})
    async with serving(limited) as client:
        assert "errors" not in await client.answer(DEAR)
        assert "errors" not in await client.answer(DEAR)  # it cost but a few points
        client.state.streams.budgets.spend("127.0.0.1", MAX_COST - 50)
        yield client


async def test_a_query_beyond_its_client_s_budget_is_refused_with_429(spent: Client) -> None:
    query = DEAR.replace("10000", "9999")
    async with spent.http.post(f"{spent.url}/graphql", json={"query": query}) as response:
        (error,) = (await response.json())["errors"]

    assert response.status == 429
    assert error["extensions"]["code"] == "THROTTLED"
    assert 0 < error["extensions"]["retryAfter"] <= int(response.headers["Retry-After"]) <= 60


async def test_on_a_socket_it_is_that_operation_s_error(spent: Client) -> None:
    async with spent.acknowledged_socket() as socket:
        payload = {"query": DEAR.replace("10000", "9999")}
        await socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
        refused = await socket.receive_json(timeout=20)
        await socket.send_json({"type": "ping"})
        assert await socket.receive_json(timeout=20) == {"type": "pong"}

    (error,) = refused["payload"]
    assert (refused["type"], error["extensions"]["code"]) == ("error", "THROTTLED")


async def test_on_a_stream_of_events_it_is_that_operation_s_error(spent: Client) -> None:
    dear = {"query": DEAR.replace("10000", "9999")}
    async with spent.http.post(
        f"{spent.url}/graphql", json=dear, headers={"Accept": "text/event-stream"}
    ) as response:
        assert response.status == 200
        events = (await response.text()).split("\n\n")

    (refused,) = (each for each in events if each.startswith("event: next"))
    (error,) = json.loads(refused.partition("data: ")[2])["errors"]
    assert error["extensions"]["code"] == "THROTTLED"
    assert any(each.startswith("event: complete") for each in events)


@pytest.mark.parametrize("accept", ["text/event-stream", "a socket"])
async def test_a_subscription_is_paid_for_as_it_begins(
    settings: Settings, sessions: Sessions, accept: str
) -> None:
    await insert(sessions, quote(at=0))
    subscription = "subscription { priceUpdates { price } }"
    async with serving(settings.model_copy(update={"points_per_minute": MAX_COST})) as client:
        if accept == "a socket":
            async with client.subscription(subscription) as updates:
                await updates.next()
        else:
            async with client.http.post(
                f"{client.url}/graphql", json={"query": subscription}, headers={"Accept": accept}
            ) as response:
                while not (await response.content.readline()).startswith(b"data: {"):
                    pass
        with pytest.raises(RefusedError):
            client.state.streams.budgets.spend("127.0.0.1", MAX_COST)


async def test_each_holder_of_a_token_has_a_budget_whatever_its_address(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=0))
    for name in ("first", "second"):
        await sessions.transact(partial(tokens.add, name=name, token=f"qt_{name}"))
    limited = {"points_per_minute": MAX_COST, "access": "token"}
    codes = []
    async with serving(settings.model_copy(update=limited)) as client:
        await client.report("/healthz")  # it has started
        client.state.streams.budgets.spend("token first", MAX_COST - 50)
        client.state.streams.budgets.spend("127.0.0.1", MAX_COST - 50)
        for name in ("first", "second"):
            async with client.http.post(
                f"{client.url}/graphql",
                json={"query": DEAR},
                headers={"Authorization": f"Bearer qt_{name}"},
            ) as response:
                codes.append(response.status)

    assert codes == [429, 200]


async def test_a_request_may_ask_what_it_costs(spent: Client) -> None:
    query = "{ latestPrice(ticker: BTC) { price } }".replace("BTC", '"BTC"')
    costs = []
    for member in ({"cost": True}, {"cost": True}, {}):  # the second is from the cache
        body = {"query": query, "extensions": member}
        async with spent.http.post(f"{spent.url}/graphql", json=body) as response:
            costs.append((await response.json()).get("extensions"))

    assert costs[0] == costs[1]
    assert set(costs[0]["cost"]) == {"requested", "actual", "limit"}
    assert costs[0]["cost"]["limit"] == MAX_COST
    assert costs[2] is None
