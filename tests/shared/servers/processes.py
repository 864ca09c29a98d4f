"""Our own processes, started as an operator would, each with its settings in the environment."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import redis
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker

from quotes import queue
from quotes.server.process import listen
from quotes.settings import Settings


def environment(settings: Settings, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "QUOTES_DATABASE_URL": settings.require_database_url(),
        "QUOTES_REDIS_URL": settings.require_redis_url(),
        "QUOTES_DERIBIT_URL": settings.deribit_url,
        "QUOTES_TICKERS": ",".join(settings.tickers),
        "QUOTES_METRICS_PORT": str(settings.metrics_port or ""),
        "QUOTES_LOG_FORMAT": "json",
        "QUOTES_QUERY_WAIT": str(settings.query_wait),
        **more,
    }


@asynccontextmanager
async def running(
    module: str, settings: Settings, *arguments: str, **more: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m module`, which must end with status 0 on SIGTERM, unless the test killed it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, env=environment(settings, **more)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            status = await process.wait()
    assert status in {0, -signal.SIGKILL}


def worker(settings: Settings) -> Any:
    return running("workers.worker", settings)


def send(settings: Settings, minute: datetime, *tickers: str) -> None:
    """The message that the scheduler's tick turns into."""
    _enqueue(settings, "collect", minute.isoformat(), list(tickers or settings.tickers))


def send_later(settings: Settings, minute: datetime) -> None:
    """A message that the worker holds back for a minute."""
    _enqueue(settings, "collect", minute.isoformat(), [*settings.tickers], delay=60_000)


def send_fill_gaps(settings: Settings) -> None:
    """The scheduler's other message."""
    _enqueue(settings, "fill_gaps")


def send_compact(settings: Settings) -> None:
    """What the scheduler sends each hour."""
    _enqueue(settings, "compact")


def send_tick(settings: Settings) -> None:
    """What the scheduler sends each minute."""
    _enqueue(settings, "tick", of=queue.TICKS)


def send_nonsense(settings: Settings) -> None:
    """A message that no worker can handle."""
    _enqueue(settings, "nonsense")


def _enqueue(
    settings: Settings,
    actor: str,
    *args: object,
    delay: int | None = None,
    of: str = queue.WORK,
) -> None:
    with redis.Redis.from_url(settings.require_redis_url()) as client:
        broker = RedisBroker(client=client, middleware=[], namespace=queue.namespace(settings))  # type: ignore[no-untyped-call]
        broker.declare_queue(of)
        message: Message[None] = Message(
            queue_name=of, actor_name=actor, args=args, kwargs={}, options={}
        )
        broker.enqueue(message, delay=delay)


def free_port() -> int:
    with listen("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


class Api:
    """One web process, killed and started again."""

    def __init__(self, settings: Settings, port: int, **more: str) -> None:
        self._environment = environment(settings, QUOTES_PORT=str(port), **more)
        self.port = port
        self.url = f"http://127.0.0.1:{port}/graphql"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "quotes", "api", env=self._environment
        )

    async def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            await self.process.wait()
