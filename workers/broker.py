"""The queue. Importing this reads the environment and sets Dramatiq's broker, as Dramatiq wants it.

Dramatiq's defaults are made for other work: 20 retries over days turn old prices into new ones,
and a killed worker's messages come back only by chance.
"""

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import (
    AgeLimit,
    AsyncIO,
    CurrentMessage,
    Retries,
    ShutdownNotifications,
    TimeLimit,
)
from periodiq import PeriodiqMiddleware

from quotes.market.sources import name_of
from quotes.settings import Settings
from workers.process import Process

# Seconds; an older tick is dropped. Its minute is over even where the clocks of the scheduler's and
# the worker's hosts differ by as much as is ridden out.
TICK_AGE = 90

settings = Settings.load()
process = Process(settings)
broker = RedisBroker(  # type: ignore[no-untyped-call]
    client=redis.Redis.from_url(
        settings.require_redis_url(),
        client_name="quotes-worker",
        socket_connect_timeout=5,
        socket_timeout=10,
    ),
    namespace=f"quotes-{name_of(settings.deribit_url)}",  # no demo's message is a real worker's
    # Each command looks for the messages of dead workers; at one message a minute this is free.
    maintenance_chance=1_000_000,
    heartbeat_timeout=5_000,  # milliseconds without a sign of life until a worker is dead
    middleware=[
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
