"""Messages that fail for good: each with its reason, and none at the cost of its neighbours.

Dramatiq 2.2 stores a dead letter as it was sent, without what its last attempt met. A message that
it cannot decode, or whose fields are of the wrong kind, stops its consumer or its worker, together
with the messages that were fetched with it.
"""

from contextlib import suppress
from typing import Any

import redis
import structlog
from dramatiq import Broker, MessageProxy, Middleware
from dramatiq.brokers.redis import RedisBroker

from quotes import queue

log = structlog.get_logger(__name__)

MAX_REASON = 300  # characters


class CarefulBroker(RedisBroker):
    """Hands to its consumers only what an actor of this release can take.

    All else becomes a dead letter when it is fetched.
    """

    def do_fetch(self, queue_name: str, prefetch: int) -> list[bytes]:
        fetched = self._dispatch("fetch")(queue_name, prefetch)  # type: ignore[no-untyped-call]
        return [
            data for data in fetched if data is not None and self._is_accepted(queue_name, data)
        ]

    def _is_accepted(self, queue_name: str, data: bytes) -> bool:
        try:
            message = queue.message_of(data)
        except queue.UnreadableError as error:
            self._reject(queue_name, data, data, reason=f"it cannot be read ({error})")
            return False
        reason = None
        if message.queue_name != queue_name:
            reason = f"it is addressed to the queue {message.queue_name!r}"
        elif message.actor_name not in self.actors:
            reason = f"this release has no actor {message.actor_name!r}"
        if reason is not None:
            explained = message.copy(options={queue.REASON: reason})
            self._reject(queue_name, data, explained.encode(), reason=reason)
        return reason is None

    def _reject(self, queue_name: str, data: bytes, explained: bytes, *, reason: str) -> None:
        client: Any = self.client
        messages = f"{self.namespace}:{queue_name}.msgs"
        with suppress(redis.RedisError):  # then it is fetched again after this worker's end
            fetched = client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}")
            for identity in fetched:
                if client.hget(messages, identity) == data:
                    client.hset(messages, identity, explained)
                    self.do_nack(queue_name, identity)
                    log.error("message_refused", queue=queue_name, reason=reason)
                    return


class Reasons(Middleware):
    """Stores why a message fails for good. Before `Retries()` and `AgeLimit()` in the list.

    What follows a message is passed from the last middleware to the first.
    """

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        if message.failed and exception is not None:
            self._store(broker, message, f"{type(exception).__name__}: {exception}")

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        if message.failed:
            self._store(broker, message, "it was too old when a worker was free for it")

    def _store(self, broker: Any, message: MessageProxy, reason: str) -> None:
        line = reason.partition("\n")[0][:MAX_REASON]
        explained = message.copy(options={queue.REASON: line})
        messages = f"{broker.namespace}:{message.queue_name}.msgs"
        with suppress(redis.RedisError):
            broker.client.hset(messages, message.options["redis_message_id"], explained.encode())
