"""Whether this process lives (`/healthz`), serves (`/readyz`), and has fresh prices (`/freshz`).

Each with its reasons. All answer at once from what is known: a task of its own, on a connection of
its own, looks at the database every few seconds. So an answer takes no longer when everything else
is busy or lost.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from quotes.api import freshness
from quotes.background import Ended, background
from quotes.database import heartbeats, models
from quotes.database.errors import DatabaseError, UnavailableError, translated
from quotes.database.log import store
from quotes.database.maintenance import migrations, revisions
from quotes.database.sessions import Sessions
from quotes.server.operations import Streams

CHECK_EVERY = 2.0  # seconds between two looks at the database
CHECK_TIMEOUT = 10.0  # seconds for all that one look asks; a slow database still answers
CHECK_LAG = timedelta(seconds=20)  # since the last look that ended; more, and nothing is known
FEED_LAG = timedelta(seconds=10)  # ten of the feed's timers


class Health:
    """The checks of one web process. Run by `open_health`."""

    def __init__(self, engine: AsyncEngine, streams: Streams, task: asyncio.Task[None]) -> None:
        self._collection = streams.context.collection
        self._engine = engine
        self._sessions = Sessions(engine)
        self._feed = streams.context.feed
        self._replica = streams.context.replica
        self._admission = streams.admission
        self._limits = streams.connection_limits
        self._task = task
        self._checked: dict[str, Any] = {}
        self._checked_at = datetime.now(UTC)
        self.draining = False  # set when the process begins to shut down

    def alive(self) -> dict[str, Any]:
        """Whether the loops of this process run; says nothing of the database."""
        return {"ok": not self._task.done(), "feed": "dead" if self._task.done() else "running"}

    def ready(self) -> dict[str, Any]:
        """Whether queries and streams are answered, as last seen.

        Whether new prices arrive is reported, and makes nothing unready: all processes have the
        same prices, and history is served meanwhile.
        """
        report = {
            "process": self._process_state(),
            "feed": self._feed_state(),
            "queries": self._admission.state(),
            "connections": self._limits.connections,
            "subscriptions": self._limits.subscriptions,
            **self._database_state(),
        }
        if self._replica is not None:  # nothing is unready without it
            report["replica"] = self._replica.state()
        parts = ("process", "feed", "queries", "database", "migrations")
        return {"ok": all(report.get(name, {}).get("ok") for name in parts), **report}

    def fresh(self) -> dict[str, Any]:
        """Whether each ticker has a fresh price, as last seen. For alerts."""
        report = self._database_state()
        tickers = report.get("tickers", {})
        fresh = bool(tickers) and all(state["fresh"] for state in tickers.values())
        return {"ok": fresh, **report}

    async def run(self) -> None:
        """Look at the database for ever; ends only by cancellation."""
        while True:
            self._checked = await self._check()
            self._checked_at = datetime.now(UTC)
            await asyncio.sleep(CHECK_EVERY)

    async def _check(self) -> dict[str, Any]:
        report: dict[str, Any] = {}
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                with translated():
                    report["migrations"] = await self._migrations()
                if report["migrations"]["ok"]:
                    report |= await self._quotes()
            report["database"] = {"ok": True}
        except (TimeoutError, UnavailableError):  # its text names hosts, and belongs to the log
            report["database"] = {"ok": False, "reason": "the database cannot be reached"}
        except DatabaseError as error:
            report["database"] = {"ok": False, "reason": str(error)}
        return report

    def _process_state(self) -> dict[str, Any]:
        if self.draining:
            return {"ok": False, "reason": "this process is shutting down"}
        return {"ok": True}

    def _database_state(self) -> dict[str, Any]:
        if not self._checked:
            return {"database": {"ok": False, "reason": "it was not looked at yet"}}
        if datetime.now(UTC) - self._checked_at > CHECK_LAG:
            return {"database": {"ok": False, "reason": "it was not looked at for a while"}}
        return self._checked

    def _feed_state(self) -> dict[str, Any]:
        feed = self._feed
        state: dict[str, Any] = {"lastSeq": feed.last, "listening": feed.listening}
        if self._task.done():
            return {"ok": False, "reason": "the feed has ended", **state}
        if feed.read_at is None:
            return {"ok": False, "reason": "the log was never read yet", **state}
        lag = datetime.now(UTC) - feed.read_at
        state["lagSeconds"] = round(lag.total_seconds(), 3)
        if lag > FEED_LAG:
            return {"ok": False, "reason": "the log has not been read for a while", **state}
        return {"ok": True, **state}

    async def _migrations(self) -> dict[str, Any]:
        present, wanted = await migrations.current(self._engine), revisions.head()
        if present == wanted:
            return {"ok": True, "revision": present}
        reason = f"the database is at revision {present}, this release wants {wanted}"
        return {"ok": False, "reason": f"{reason}; run `quotes migrate`", "revision": present}

    async def _quotes(self) -> dict[str, Any]:
        names = self._collection.in_order
        async with self._sessions() as session:
            newest = {quote.ticker: quote for quote in await store.newest(session, names)}
            failed = {row.ticker: row for row in await store.last_failures(session, names)}
            seen = await heartbeats.last(session)
        self._collection.see(failed.values())  # for `stale`, which no request reads it for
        idle, now = freshness.idle_reason(seen), datetime.now(UTC)
        return {
            "parts": {part.value: _part_state(part, seen.get(part)) for part in models.Part},
            "tickers": {
                name: _ticker_state(newest.get(name), failed.get(name), idle, now) for name in names
            },
        }


def _part_state(part: models.Part, last: heartbeats.Heartbeat | None) -> dict[str, Any]:
    problem = freshness.part_problem(part, last)
    state: dict[str, Any] = {"ok": problem is None}
    if last is not None:
        state["seenSecondsAgo"] = round(last.age.total_seconds(), 3)
    return state if problem is None else {**state, "reason": problem}


def _ticker_state(
    quote: models.Quote | None, failure: models.Failure | None, idle: str, now: datetime
) -> dict[str, Any]:
    reason = freshness.stale_reason(quote, failure, idle, now)
    state: dict[str, Any] = {"fresh": reason is None}
    if quote is not None:
        state["ageSeconds"] = round((now - quote.observed_at).total_seconds(), 3)
    if reason is None:
        return state
    if failure is not None and freshness.failed_since(quote, failure):
        state["cause"] = failure.cause
    return {**state, "reason": reason}


@asynccontextmanager
async def open_health(health: Health, ended: Ended) -> AsyncIterator[Health]:
    """Running. `ended` is called with its task when that ends."""
    async with background(health.run(), "health", ended):
        yield health
