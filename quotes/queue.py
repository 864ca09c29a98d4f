"""The queue: how long it is, its dead letters, and sending them again."""

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis

from quotes.dramatiq_redis import OF_ATTEMPTS, CheckedBroker, Keys, UnreadableError, message_of
from quotes.market.sources import name_of
from quotes.settings import Settings

TICKS, WORK = "ticks", "default"
QUEUES = (TICKS, WORK)

TIMEOUT = 5.0  # seconds to connect, and for each answer
REASON = "reason"  # the option of a dead letter that says why it failed
_LEFT_OUT = {*OF_ATTEMPTS, REASON}  # of a message's options, when it is sent again
_SHOWN = 200  # characters of a message that cannot be read


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
        self._broker = CheckedBroker(client=client, namespace=namespace, middleware=[])  # type: ignore[no-untyped-call]

    def lengths(self) -> list[Length]:
        with self._client.pipeline() as pipeline:
            for queue in QUEUES:
                keys = Keys(self._namespace, queue)
                pipeline.llen(keys.waiting)
                pipeline.hlen(keys.undone)
                pipeline.hlen(keys.delayed)
                pipeline.zcard(keys.deaths)
            counts = iter(pipeline.execute())
        return [_length(queue, counts) for queue in QUEUES]

    def dead(self, limit: int) -> list[DeadLetter]:
        """The newest `limit` dead letters, the newest first."""
        found = [letter for queue in QUEUES for letter in self._dead(queue, limit)]
        return sorted(found, key=lambda letter: letter.died_at, reverse=True)[:limit]

    def resend(self, letter: DeadLetter) -> None:
        """Send it again, as if it were sent now. Raises UnreadableError where it is no message."""
        message = message_of(letter.data)
        kept = {name: value for name, value in message.options.items() if name not in _LEFT_OUT}
        now = int(time.time() * 1000)
        again = dataclasses.replace(
            message, queue_name=letter.queue, options=kept, message_timestamp=now
        )
        self._broker.enqueue(again)
        self.drop(letter)

    def drop(self, letter: DeadLetter) -> None:
        keys = Keys(self._namespace, letter.queue)
        with self._client.pipeline() as pipeline:
            pipeline.zrem(keys.deaths, letter.identity)
            pipeline.hdel(keys.dead, letter.identity)
            pipeline.execute()

    def _dead(self, queue: str, limit: int) -> Iterator[DeadLetter]:
        keys = Keys(self._namespace, queue)
        ids = self._client.zrevrange(keys.deaths, 0, limit - 1, withscores=True)
        if ids:
            messages = self._client.hmget(keys.dead, [each for each, _ in ids])
            for (identity, died), data in zip(ids, messages, strict=True):
                yield DeadLetter(
                    identity, queue, datetime.fromtimestamp(died / 1000, UTC), data or b""
                )


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
