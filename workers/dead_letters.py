"""Messages that fail for good: each with its reason, and none at the cost of its neighbours.

Dramatiq 2.2 stores a dead letter as it was sent, without what its last attempt met.
"""

import structlog
from dramatiq import Broker, MessageProxy, Middleware

from quotes import queue
from quotes.dramatiq_redis import CheckedBroker, Refusal, UnreadableError, message_of

log = structlog.get_logger(__name__)

MAX_REASON = 300  # characters


class CarefulBroker(CheckedBroker):
    """Refuses what no actor of this release can take."""

    def refusal(self, queue_name: str, data: bytes) -> Refusal | None:
        try:
            message = message_of(data)
        except UnreadableError as error:
            return Refusal(f"it cannot be read ({error})", data)
        if message.queue_name != queue_name:
            reason = f"it is addressed to the queue {message.queue_name!r}"
        elif message.actor_name not in self.actors:
            reason = f"this release has no actor {message.actor_name!r}"
        else:
            return None
        return Refusal(reason, message.copy(options={queue.REASON: reason}).encode())

    def refused(self, queue_name: str, refusal: Refusal) -> None:
        log.error("message_refused", queue=queue_name, reason=refusal.reason)


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

    def _store(self, broker: Broker, message: MessageProxy, reason: str) -> None:
        assert isinstance(broker, CheckedBroker)
        line = reason.partition("\n")[0][:MAX_REASON]
        broker.explain(message, message.copy(options={queue.REASON: line}).encode())
