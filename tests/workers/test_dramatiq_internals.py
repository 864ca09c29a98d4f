"""What `quotes.dramatiq_redis` relies on of Dramatiq is as it was.

Where a test here fails, that module has to be read beside the library's new release.
"""

import dataclasses
from typing import Any

import pytest
import redis
from dramatiq import Message, MessageProxy, Worker, actor
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Retries
from internals import parameters

from quotes.dramatiq_redis import OF_ATTEMPTS, Keys, _Fields, threads
from quotes.settings import Settings

KEYS = Keys("of-a-test", "default")


@pytest.fixture
def client(settings: Settings) -> Any:
    return redis.Redis.from_url(settings.require_redis_url())


@pytest.fixture
def broker(client: Any) -> Any:
    return RedisBroker(client=client, namespace=KEYS.namespace, middleware=[Retries()])  # type: ignore[no-untyped-call]


def sent(broker: Any, delay: int | None = None) -> bytes:
    message: Message[None] = Message("default", "collect", (), {}, {})
    return str(broker.enqueue(message, delay=delay).options["redis_message_id"]).encode()


def test_a_message_has_the_fields_that_are_checked() -> None:
    assert [each.name for each in dataclasses.fields(Message)] == list(_Fields.model_fields)


def test_a_queue_lies_in_redis_as_it_is_read(broker: Any, client: Any) -> None:
    waiting, delayed = sent(broker), sent(broker, delay=60_000)

    assert client.lrange(KEYS.waiting, 0, -1) == [waiting]
    assert client.hkeys(KEYS.undone) == [waiting]
    assert client.hkeys(KEYS.delayed) == [delayed]

    assert [Message.decode(each).actor_name for each in broker.do_fetch("default", 1)] == [
        "collect"
    ]
    assert client.smembers(KEYS.fetched(broker.broker_id)) == {waiting}
    assert client.hkeys(KEYS.undone) == [waiting]

    broker.do_nack("default", waiting)

    assert client.zrange(KEYS.deaths, 0, -1) == client.hkeys(KEYS.dead) == [waiting]
    assert client.hkeys(KEYS.undone) == []


def test_fetching_goes_by_the_method_that_is_overridden() -> None:
    assert parameters(RedisBroker, ["_dispatch"]) == {"_dispatch": "command"}
    assert not hasattr(RedisBroker, "do_fetch")


def test_what_an_attempt_leaves_in_a_message_is_known(broker: Any) -> None:
    actor(actor_name="collect", broker=broker)(lambda: None)
    sent(broker)
    (data,) = broker.do_fetch("default", 1)

    failed = MessageProxy(Message.decode(data))
    broker.emit_after("process_message", failed, exception=OSError())
    (again,) = broker.do_fetch("default.DQ", 1)

    assert set(Message.decode(again).options) <= OF_ATTEMPTS


def test_a_worker_has_its_threads_and_those_of_its_consumers(broker: Any) -> None:
    broker.declare_queue("default")
    worker = Worker(broker, worker_timeout=10, worker_threads=2)
    worker.start()
    try:
        names = [type(each).__name__ for each in threads(worker)]
    finally:
        worker.stop()

    assert sorted(names) == ["ConsumerThread"] * 2 + ["WorkerThread"] * 2
