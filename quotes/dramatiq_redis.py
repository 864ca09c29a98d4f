"""What is internal to Dramatiq, and relied on: nothing else knows it.

As seen in Dramatiq 2.2 (brokers/redis/dispatch.lua), each queue of a namespace has in Redis

    default, default.msgs          the ids that wait, and all messages that are not done, by id
    default.DQ, default.DQ.msgs    the same of messages that are delayed
    default.XQ, default.XQ.msgs    ids of dead letters by the time of their death, their messages
    __acks__.BROKER.default        the ids that a worker has fetched, and has not done
"""

from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any, NamedTuple

import redis
from dramatiq import Message, MessageProxy, Worker
from dramatiq.brokers.redis import RedisBroker
from pydantic import BaseModel, ConfigDict, ValidationError

# What the attempts leave in a message's options.
OF_ATTEMPTS = frozenset({"eta", "redis_message_id", "requeue_timestamp", "retries", "traceback"})


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
class Keys:
    """Of one queue, in Redis."""

    namespace: str
    queue: str

    @property
    def waiting(self) -> str:
        return f"{self.namespace}:{self.queue}"

    @property
    def undone(self) -> str:
        return f"{self.waiting}.msgs"

    @property
    def delayed(self) -> str:
        return f"{self.waiting}.DQ.msgs"

    @property
    def deaths(self) -> str:
        return f"{self.waiting}.XQ"

    @property
    def dead(self) -> str:
        return f"{self.waiting}.XQ.msgs"

    def fetched(self, broker: str) -> str:
        return f"{self.namespace}:__acks__.{broker}.{self.queue}"


class Refusal(NamedTuple):
    """Why a message is not handed to a consumer, and what is stored in its place."""

    reason: str
    explained: bytes


class CheckedBroker(RedisBroker):
    """Hands to its consumers only what is not refused.

    All else becomes a dead letter when it is fetched: a message that Dramatiq cannot decode, or
    whose fields are of the wrong kind, would stop its consumer or its worker, together with the
    messages that were fetched with it.
    """

    def refusal(self, queue_name: str, data: bytes) -> Refusal | None:
        """Of a message that was fetched from this queue; of none, unless it is overridden."""
        return None

    def refused(self, queue_name: str, refusal: Refusal) -> None:
        """A message has become a dead letter; to be overridden."""

    def explain(self, message: MessageProxy, explained: bytes) -> None:
        """Store a message that was fetched anew, before it becomes a dead letter."""
        client: Any = self.client
        key = Keys(self.namespace, message.queue_name).undone
        with suppress(redis.RedisError):
            client.hset(key, message.options["redis_message_id"], explained)

    def do_fetch(self, queue_name: str, prefetch: int) -> list[bytes]:
        fetched = self._dispatch("fetch")(queue_name, prefetch)  # type: ignore[no-untyped-call]
        return [
            data for data in fetched if data is not None and self._is_accepted(queue_name, data)
        ]

    def _is_accepted(self, queue_name: str, data: bytes) -> bool:
        refusal = self.refusal(queue_name, data)
        if refusal is not None:
            with suppress(redis.RedisError):  # then it is fetched again after this worker's end
                self._reject(queue_name, data, refusal)
        return refusal is None

    def _reject(self, queue_name: str, data: bytes, refusal: Refusal) -> None:
        client: Any = self.client
        keys = Keys(self.namespace, queue_name)
        for identity in client.smembers(keys.fetched(self.broker_id)):
            if client.hget(keys.undone, identity) == data:
                client.hset(keys.undone, identity, refusal.explained)
                self.do_nack(queue_name, identity)
                self.refused(queue_name, refusal)
                return


def threads(worker: Worker) -> list[Thread]:
    """All that a worker has started, and that last as long as it does."""
    return [*worker.workers, *worker.consumers.values()]
