"""The queue: how long it is, its dead letters, and sending them again.

The only module that knows how Dramatiq lays a queue out in Redis. As seen in Dramatiq 2.2
(brokers/redis/dispatch.lua), each queue of a namespace has

    default, default.msgs          the ids that wait, and all messages that are not done, by id
    default.DQ, default.DQ.msgs    the same of messages that are delayed
    default.XQ, default.XQ.msgs    ids of dead letters by the time of their death, their messages
"""

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from pydantic import BaseModel, ConfigDict, ValidationError

from quotes.market.sources import name_of
from quotes.settings import Settings

TICKS, WORK = "ticks", "default"
QUEUES = (TICKS, WORK)

TIMEOUT = 5.0  # seconds to connect, and for each answer
REASON = "reason"  # the option of a dead letter that says why it failed
# What the attempts left in a message's options; what is sent again begins without.
_OF_ATTEMPTS = {"eta", "redis_message_id", "requeue_timestamp", "retries", "traceback", REASON}
_SHOWN = 200  # characters of a message that cannot be read


class UnreadableError(Exception):
    """It is no message of Dramatiq's; the error says what is wrong with it."""


class _Options(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    redis_message_id: str


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    queue_name: str
    actor_name: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: _Options
    message_id: str
    message_timestamp: int


def message_of(data: bytes) -> "Message[Any]":
    """Raises UnreadableError: what Dramatiq would take, and then fail to handle, is none either."""
    try:
        _Fields.model_validate_json(data)
        return Message.decode(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UnreadableError(f"{place}: {first['msg']}" if place else first["msg"]) from None


@dataclass(frozen=True, slots=True)
class Length:
    """How many messages a queue has."""

    queue: str
    waiting: int
    running: int
    delayed: int
    dead: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that has failed for good."""

    identity: bytes
    queue: str
    died_at: datetime
    data: bytes

    @property
    def work(self) -> str:
        """The actor with its arguments; of what is no message, how it begins."""
        try:
            return str(message_of(self.data))
        except UnreadableError:
            return repr(self.data[:_SHOWN])

    @property
    def reason(self) -> str:
        try:
            reason = message_of(self.data).options.get(REASON)
        except UnreadableError as error:
            return f"it cannot be read ({error})"
        return str(reason or "it is not known: no worker of this release has handled it")


class Queue:
    """All queues of one namespace. Raises redis.RedisError where the server does not answer."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._client: Any = client
        self._namespace = namespace
        self._broker = RedisBroker(client=client, namespace=namespace, middleware=[])  # type: ignore[no-untyped-call]

    def lengths(self) -> list[Length]:
        with self._client.pipeline() as pipeline:
            for queue in QUEUES:
                pipeline.llen(self._key(queue))
                pipeline.hlen(self._key(queue, ".msgs"))
                pipeline.hlen(self._key(queue, ".DQ.msgs"))
                pipeline.zcard(self._key(queue, ".XQ"))
            counts = iter(pipeline.execute())
        return [_length(queue, counts) for queue in QUEUES]

    def dead(self, limit: int) -> list[DeadLetter]:
        """The newest `limit` dead letters, the newest first."""
        found = [letter for queue in QUEUES for letter in self._dead(queue, limit)]
        return sorted(found, key=lambda letter: letter.died_at, reverse=True)[:limit]

    def resend(self, letter: DeadLetter) -> None:
        """Send it again, as if it were sent now. Raises UnreadableError where it is no message."""
        message = message_of(letter.data)
        kept = {name: value for name, value in message.options.items() if name not in _OF_ATTEMPTS}
        now = int(time.time() * 1000)
        again = dataclasses.replace(
            message, queue_name=letter.queue, options=kept, message_timestamp=now
        )
        self._broker.enqueue(again)
        self.drop(letter)

    def drop(self, letter: DeadLetter) -> None:
        with self._client.pipeline() as pipeline:
            pipeline.zrem(self._key(letter.queue, ".XQ"), letter.identity)
            pipeline.hdel(self._key(letter.queue, ".XQ.msgs"), letter.identity)
            pipeline.execute()

    def _dead(self, queue: str, limit: int) -> Iterator[DeadLetter]:
        ids = self._client.zrevrange(self._key(queue, ".XQ"), 0, limit - 1, withscores=True)
        if ids:
            messages = self._client.hmget(self._key(queue, ".XQ.msgs"), [each for each, _ in ids])
            for (identity, died), data in zip(ids, messages, strict=True):
                yield DeadLetter(
                    identity, queue, datetime.fromtimestamp(died / 1000, UTC), data or b""
                )

    def _key(self, queue: str, suffix: str = "") -> str:
        return f"{self._namespace}:{queue}{suffix}"


def namespace(settings: Settings) -> str:
    """Of all keys: real and demo prices may share a server; no worker takes the other's work."""
    return f"quotes-{name_of(settings.deribit_url)}"


def connect(settings: Settings) -> Queue:
    url = settings.require_redis_url()
    client = redis.Redis.from_url(
        url, client_name="quotes-queue", socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT
    )
    return Queue(client, namespace(settings))


def _length(queue: str, counts: Iterator[int]) -> Length:
    waiting, undone, delayed, dead = (next(counts) for _ in range(4))
    return Length(queue, waiting, max(0, undone - waiting), delayed, dead)
