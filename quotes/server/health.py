"""Whether this process lives (`/healthz`) and serves (`/readyz`), each with its reasons.

Both answer at once from what is known: a task of its own, on a connection of its own, looks at the
database every few seconds. So an answer takes no longer when everything else is busy or lost.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from quotes.api.types import STALE_AFTER
from quotes.database import migrations, models, revisions, store
from quotes.database.errors import DatabaseError, UnavailableError, translated
from quotes.database.sessions import Sessions
from quotes.server.operations import Streams
from quotes.settings import Settings

CHECK_EVERY = 2.0  # seconds between two looks at the database
CHECK_TIMEOUT = 10.0  # seconds for all that one look asks; a slow database still answers
CHECK_LAG = timedelta(seconds=20)  # since the last look that ended; more, and nothing is known
FEED_LAG = timedelta(seconds=10)  # ten of the feed's timers
SILENCE = timedelta(minutes=5)  # without a quote of any ticker, which are due each minute


class Health:
    """The checks of one web process. Run by `open_health`."""

    def __init__(
        self, settings: Settings, engine: AsyncEngine, streams: Streams, task: asyncio.Task[None]
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._sessions = Sessions(engine)
        self._feed = streams.context.feed
        self._admission = streams.admission
        self._limits = streams.connection_limits
        self._task = task
        self._began = datetime.now(UTC)
        self._checked: dict[str, Any] = {}
        self._checked_at = self._began
        self.draining = False  # set when the process begins to shut down

    def alive(self) -> dict[str, Any]:
        """Whether the loops of this process run; says nothing of the database."""
        return {"ok": not self._task.done(), "feed": "dead" if self._task.done() else "running"}

    def ready(self) -> dict[str, Any]:
        """Whether quotes arrive and queries and streams are answered, as last seen.

        A single stale ticker is reported, and makes nothing unready.
        """
        report = {
            "process": self._process_state(),
            "feed": self._feed_state(),
            "queries": self._admission.state(),
            "connections": self._limits.connections,
            "subscriptions": self._limits.subscriptions,
            **self._database_state(),
        }
        parts = ("process", "feed", "queries", "database", "migrations", "quotes")
        return {"ok": all(report.get(name, {}).get("ok") for name in parts), **report}

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
        names = self._settings.tickers
        async with self._sessions() as session:
            newest = {quote.ticker: quote for quote in await store.newest(session, names)}
            failed = {row.ticker: row for row in await store.last_failures(session, names)}
        now = datetime.now(UTC)
        states = {name: _freshness(newest.get(name), failed.get(name), now) for name in names}
        last = max((quote.observed_at for quote in newest.values()), default=None)
        return {"quotes": self._arrival(last, states, now), "tickers": states}

    def _arrival(
        self, last: datetime | None, states: dict[str, dict[str, Any]], now: datetime
    ) -> dict[str, Any]:
        """Whether quotes arrive: one of any ticker is enough, and none is needed at the start."""
        if now - max(last or self._began, self._began) <= SILENCE:
            return {"ok": True}
        since = "there is none yet" if last is None else f"the newest is of {last:%Y-%m-%d %H:%M}Z"
        reasons = {str(state["reason"]) for state in states.values() if "reason" in state}
        return {
            "ok": False,
            "reason": f"no quotes arrive, {since}: {'; '.join(sorted(reasons)[:3])}",
        }


def _freshness(
    quote: models.Quote | None, failure: models.Failure | None, now: datetime
) -> dict[str, Any]:
    age = None if quote is None else now - quote.observed_at
    fresh = age is not None and age <= STALE_AFTER
    state: dict[str, Any] = {"fresh": fresh}
    if age is not None:
        state["ageSeconds"] = round(age.total_seconds(), 3)
    if not fresh:
        state["reason"] = _why_stale(quote, failure)
    return state


def _why_stale(quote: models.Quote | None, failure: models.Failure | None) -> str:
    if failure is not None and (quote is None or failure.minute > quote.minute):
        return f"{failure.cause}: {failure.message}"
    if quote is None:
        return "no quote yet, and no attempt has failed: is a worker and a scheduler running?"
    return "nothing was asked since: is a worker and a scheduler running?"


@asynccontextmanager
async def open_health(
    health: Health, ended: Callable[[asyncio.Task[None]], None]
) -> AsyncIterator[Health]:
    """Running. `ended` is called with its task when that ends."""
    task = asyncio.create_task(health.run(), name="health")
    task.add_done_callback(ended)
    try:
        yield health
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
