"""What a web process opens before it serves, runs meanwhile, and closes at its end."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog
from starlette.applications import Starlette

from quotes import metrics
from quotes.api.context import Context
from quotes.api.plans.answers import Answers
from quotes.api.plans.plans import Plans
from quotes.api.plans.subscriptions import Payloads
from quotes.background import Ended
from quotes.database.collected import Collected, open_collected
from quotes.database.sessions import Sessions
from quotes.export.digests import Digests
from quotes.live import delivery
from quotes.live.candle_log import CandleStreams
from quotes.live.fan_out import open_fan_out
from quotes.live.feed import Feed, open_feed
from quotes.live.newest import Newest
from quotes.live.replica import Replica, open_replica
from quotes.live.single_flight import SingleFlight
from quotes.server.access import Access, open_access
from quotes.server.exports.download import Exports
from quotes.server.lanes import Lanes, open_lanes
from quotes.server.limits.admission import Admission
from quotes.server.limits.budgets import Budgets
from quotes.server.limits.connection_limits import ConnectionLimits
from quotes.server.limits.export_limits import ExportLimits
from quotes.server.monitoring.health import Health, open_health
from quotes.server.operations import Streams
from quotes.settings import FAILED, REFUSED, Settings, SettingsError

log = structlog.get_logger()


def lifespan_of(settings: Settings) -> Callable[[Starlette], Any]:
    """Raises SettingsError."""
    settings.require_database_url()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        ended = partial(_loop_ended, app)
        async with (
            open_lanes(settings) as lanes,
            open_feed(
                lanes.live, lanes.listen, lanes.replays, settings.replay_connections, ended
            ) as (feed, task),
            open_replica(
                lanes.replica, feed.tail, ended, queries=lanes.sessions, replays=lanes.replays
            ) as replica,
        ):
            feed.replays.replica = replica
            context = _context(settings, lanes, feed, replica)
            access = Access(
                Sessions(lanes.health),
                required=settings.access == "token",
                most_sockets=settings.max_sockets_per_address,
            )
            async with (
                metrics.measured_loop(),
                open_access(access, ended),
                open_streams(context, access, ended) as streams,
                open_collected(context.collection, ended),
                open_health(Health(lanes.health, streams, task), ended) as health,
            ):
                app.state.context = context
                app.state.streams = streams
                app.state.exports = Exports(
                    lanes.exports, ExportLimits(settings.max_exports), Digests()
                )
                app.state.health = health
                log.info("api_ready", host=settings.host, port=settings.port)
                yield

    return lifespan


def _context(settings: Settings, lanes: Lanes, feed: Feed, replica: Replica | None) -> Context:
    single_flight = SingleFlight(feed)
    return Context(
        settings,
        lanes.sessions,
        lanes.queries,
        lanes.replays,
        feed,
        single_flight,
        Newest(feed, lanes.replays, single_flight),
        Collected(settings.selection, Sessions(lanes.health)),
        replica=replica,
    )


@asynccontextmanager
async def open_streams(context: Context, access: Access, ended: Ended) -> AsyncIterator[Streams]:
    """`ended` is called with the fan-out's task when that ends."""
    settings = context.settings
    connection_limits = ConnectionLimits(
        most=settings.max_sockets, most_of_an_address=settings.max_sockets_per_address
    )
    candles = CandleStreams(context.replays, context.feed, context.single_flight)
    async with open_fan_out(context.feed, delivery.measure, ended) as fan_out:
        admission = Admission(settings.query_connections, settings.query_wait)
        plans = Plans(context, Answers(context.feed, settings.answer_cache << 20))
        context.collection.changed = lambda _: plans.answers.clear()  # they show what is collected
        yield Streams(
            context,
            plans,
            Payloads(context.collection),
            fan_out,
            candles,
            access,
            connection_limits,
            admission,
            Budgets(settings.points_per_minute),
            set(),
        )


def _loop_ended(app: Starlette, task: asyncio.Task[None]) -> None:
    """Without its loops a web process would never deliver again: it ends, to be restarted."""
    if task.cancelled():
        return
    error = task.exception()
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    known = isinstance(error, SettingsError)  # its message names what to correct
    log.critical(
        "loop_ended", loop=task.get_name(), reason=str(error), exc_info=not known and error
    )
    app.state.exit_status = REFUSED if known else FAILED
    signal.raise_signal(signal.SIGTERM)
