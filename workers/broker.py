"""The broker. Importing this module reads the environment and sets Dramatiq's global broker.

Dramatiq's defaults suit other work: 20 retries over days would store old prices as new ones, and a
killed worker's messages are recovered only by chance.
"""

from typing import Any

import dramatiq
import redis
from dramatiq.middleware import (
    AgeLimit,
    AsyncIO,
    CurrentMessage,
    Retries,
    ShutdownNotifications,
    TimeLimit,
)
from periodiq import PeriodiqMiddleware

from quotes import queue
from quotes.settings import Settings
from workers.dead_letters import CarefulBroker, Reasons
from workers.process import Process

# Seconds; an older tick is dropped. By then its minute is over even if the clocks of the
# scheduler's and the worker's hosts differ by as much as is compensated for.
TICK_AGE = 90


class RedisClient(redis.Redis):
    """Reports a server that does not answer as disconnected.

    Dramatiq 2.2 retries after a ConnectionError alone: a TimeoutError of redis-py ends a consumer
    thread that has delayed messages, and loses the acknowledgement of a finished one.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.TimeoutError as error:
            raise redis.ConnectionError(str(error)) from error


settings = Settings.load()
process = Process(settings)
broker = CarefulBroker(  # type: ignore[no-untyped-call]
    client=RedisClient.from_url(
        settings.require_redis_url(),
        client_name="quotes-worker",
        socket_connect_timeout=5,
        socket_timeout=10,
    ),
    namespace=queue.namespace(settings),
    # Each command recovers the messages of dead workers; at one message a minute the cost is nil.
    maintenance_chance=1_000_000,
    heartbeat_timeout=5_000,  # milliseconds of silence after which a worker counts as dead
    middleware=[
        Reasons(),
        AgeLimit(),
        TimeLimit(),
        ShutdownNotifications(),
        Retries(),
        CurrentMessage(),
        AsyncIO(),
        process,
        PeriodiqMiddleware(skip_delay=TICK_AGE),
    ],
)
dramatiq.set_broker(broker)
