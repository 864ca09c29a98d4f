"""What fails for good: with its reason, at no neighbour's cost, listed and sent again."""

import json
from typing import Any

import pytest
import redis
from processes import environment, send, worker
from rows import log, logged, minute, standing, wait
from test_cli import quotes

from quotes import queue
from quotes.database.sessions import Sessions
from quotes.queue import DeadLetter, Queue
from quotes.settings import Settings
from workers.demo.exchange import Exchange, serve

GOOD = {
    "queue_name": "default",
    "actor_name": "collect",
    "args": ["2026-01-31T12:00:00+00:00", ["btc_usd"]],
    "kwargs": {},
    "options": {"redis_message_id": "x"},
    "message_id": "1",
    "message_timestamp": 1,
}
# What an actor cannot take, and the reason that is to be shown.
BAD = {
    b"\xff\x00 no text": "cannot be read",
    b"not JSON": "cannot be read",
    b"[1, 2]": "cannot be read",
    b"[" * 100_000: "cannot be read",
    b"{}": "queue_name: Field required",
    json.dumps(GOOD | {"args": 5}).encode(): "args: Input should be a valid",
    json.dumps(GOOD | {"actor_name": ["collect"]}).encode(): "actor_name: Input should be a valid",
    json.dumps(GOOD | {"options": 7}).encode(): "options: Input should be",
    json.dumps(GOOD | {"options": {}}).encode(): "options.redis_message_id: Field required",
    json.dumps(GOOD | {"more": 1}).encode(): "more: Extra inputs",
    json.dumps(GOOD | {"queue_name": "other"}).encode(): "addressed to the queue 'other'",
    json.dumps(GOOD | {"actor_name": "sell"}).encode(): "no actor 'sell'",
}


@pytest.fixture
def client(settings: Settings) -> Any:
    return redis.Redis.from_url(settings.require_redis_url())


@pytest.fixture
def queues(settings: Settings) -> Queue:
    return queue.connect(settings)


def put(client: Any, settings: Settings, data: bytes, identity: str, name: str = "default") -> None:
    key = f"{queue.namespace(settings)}:{name}"
    client.hset(f"{key}.msgs", identity, data)
    client.rpush(key, identity)


async def dead(queues: Queue, count: int) -> list[DeadLetter]:
    async def look() -> list[DeadLetter]:
        return queues.dead(100)

    return await wait(look, lambda letters: len(letters) == count)


async def test_what_no_actor_can_take_is_a_dead_letter_and_costs_its_neighbours_nothing(
    settings: Settings, sessions: Sessions, client: Any, queues: Queue
) -> None:
    exchange = Exchange(clock=standing(minute(0)))
    async with serve(exchange) as url:
        here = settings.model_copy(update={"deribit_url": url})
        ours = queue.connect(here)
        send(here, minute(0), "btc_usd")
        for number, data in enumerate(BAD):
            put(client, here, data, f"bad {number}")
        put(client, here, b"delayed garbage", "delayed", "default.DQ")
        client.rpush(f"{queue.namespace(here)}:default", b"\xfe an id without a message")
        send(here, minute(0), "eth_usd")

        async with worker(here):
            await logged(sessions, 2)
            letters = {each.data: each for each in await dead(ours, len(BAD) + 1)}

    assert {each.ticker for each in await log(sessions)} == {"btc_usd", "eth_usd"}
    assert [(each.running, each.dead) for each in ours.lengths()] == [(0, 0), (0, len(BAD) + 1)]
    reasons = {letter.data: letter.reason for letter in letters.values()}
    for data, reason in BAD.items():
        (found,) = [why for each, why in reasons.items() if is_same(each, data)]
        assert reason in found


def is_same(letter: bytes, sent: bytes) -> bool:
    """Whether a dead letter is what was sent; where it can be, its reason was added to it."""
    try:
        explained = json.loads(letter)
        explained["options"].pop(queue.REASON)
        return bool(explained == json.loads(sent))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return letter == sent


async def test_a_dead_letter_has_its_reason_and_is_done_once_it_is_sent_again(
    settings: Settings, sessions: Sessions, client: Any
) -> None:
    async with serve(Exchange(clock=standing(minute(0)))) as url:
        here = settings.model_copy(update={"deribit_url": url})
        ours = queue.connect(here)
        put(
            client,
            here,
            json.dumps(GOOD | {"options": {"redis_message_id": "old"}}).encode(),
            "old",
        )
        send(here, minute(0), "not a ticker")

        async with worker(here):
            await dead(ours, 2)
            listed = quotes("queue", "dead", **environment(here)).stdout
            again = quotes("queue", "resend", "old", **environment(here))
            await logged(sessions, 1)
            remaining = await dead(ours, 1)

    assert "collect('2026-01-31T12:00:00+00:00', ['btc_usd'])" in listed
    assert "it was too old when a worker was free for it" in listed
    assert "ValueError: " in listed
    assert (again.returncode, again.stdout) == (0, "1 dead letters were sent again.\n")
    assert "not a ticker" in remaining[0].work


def test_an_operator_sees_the_queues_and_drops_what_is_dead(
    settings: Settings, client: Any, queues: Queue
) -> None:
    for name, identity in (("default", "one"), ("default", "two"), ("ticks", "\x1b[2J")):
        key = f"{queue.namespace(settings)}:{name}.XQ"
        client.zadd(key, {identity: 1_769_860_800_000})
        client.hset(f"{key}.msgs", identity, b"\x1b[31m no message")

    def command(*words: str) -> tuple[int, str, str]:
        done = quotes("queue", *words, **environment(settings))
        return done.returncode, done.stdout, done.stderr

    status, listed, _ = command("dead", "--limit", "2")
    assert (status, "2026-01-31 12:00:00Z" in listed, "\x1b" in listed) == (0, True, False)
    assert listed.endswith("3 dead letters; --limit 3 shows all.\n")
    status, _, fault = command("resend", "--all")
    assert (status, fault.count("cannot be sent again, only dropped")) == (1, 3)
    assert command("drop", "one") == (0, "1 dead letters were dropped.\n", "")
    assert (
        command("drop")[0] == command("drop", "one")[0] == command("drop", "--all", "two")[0] == 2
    )
    assert command("drop", "--all")[:2] == (0, "2 dead letters were dropped.\n")
    assert {each.dead for each in queues.lengths()} == {0}
    assert "ticks" in command()[1]


def test_a_queue_that_does_not_answer_is_one_sentence_without_its_password(
    settings: Settings, free_tcp_port: int
) -> None:
    url = f"redis://:hunter2@127.0.0.1:{free_tcp_port}"

    answer = quotes("queue", **environment(settings, QUOTES_REDIS_URL=url))

    assert answer.returncode == 1
    assert answer.stderr.startswith(f"The queue of QUOTES_REDIS_URL (127.0.0.1:{free_tcp_port})")
    assert "hunter2" not in answer.stderr
    assert "Traceback" not in answer.stderr
