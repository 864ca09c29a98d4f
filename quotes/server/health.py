"""Whether this process lives (`/healthz`) and can serve (`/readyz`), each with its reasons."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from quotes.api.types import STALE_AFTER
from quotes.database import migrations, models, revisions, store
from quotes.database.errors import DatabaseError, UnavailableError, translated
from quotes.server.operations import Streams
from quotes.settings import Settings

CHECK_TIMEOUT = 3.0  # seconds for all of /readyz's questions to the database
FEED_LAG = timedelta(seconds=10)  # ten of the feed's timers


class Health:
    """The checks of one web process."""

    def __init__(
        self, settings: Settings, engine: AsyncEngine, streams: Streams, task: asyncio.Task[None]
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._sessions = store.sessions_of(engine)
        self._feed = streams.context.feed
        self._crowd = streams.crowd
        self._task = task

    def alive(self) -> dict[str, Any]:
        """Whether the loops of this process run; says nothing of the database."""
        return {"ok": not self._task.done(), "feed": "dead" if self._task.done() else "running"}

    async def ready(self) -> dict[str, Any]:
        """Whether queries and streams can be served. A stale ticker is told, and stops nothing."""
        report: dict[str, Any] = {
            "feed": self._feed_state(),
            "connections": self._crowd.connections,
            "subscriptions": self._crowd.subscriptions,
        }
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                with translated():
                    report["migrations"] = await self._migrations()
                report["database"] = {"ok": True}
                if report["migrations"]["ok"]:
                    report["tickers"] = await self._tickers()
        except (TimeoutError, UnavailableError):  # its text names hosts, and belongs to the log
            report["database"] = {"ok": False, "reason": "the database cannot be reached"}
        except DatabaseError as error:
            report["database"] = {"ok": False, "reason": str(error)}
        parts = (report.get(name, {}).get("ok") for name in ("feed", "database", "migrations"))
        return {"ok": all(parts), **report}

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

    async def _tickers(self) -> dict[str, Any]:
        names = self._settings.tickers
        async with self._sessions() as session:
            newest = {quote.ticker: quote for quote in await store.newest(session, names)}
            failed = {row.ticker: row for row in await store.last_failures(session, names)}
        now = datetime.now(UTC)
        return {name: _freshness(newest.get(name), failed.get(name), now) for name in names}


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
