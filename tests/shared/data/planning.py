"""Plans as a web process has them, without the process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from quotes.api.context import Context
from quotes.api.plans.answers import Answers
from quotes.api.plans.plans import Plans
from quotes.database.collected import Collected
from quotes.live.feed import open_feed
from quotes.live.newest import BOUND, Newest
from quotes.live.single_flight import SingleFlight
from quotes.server.lanes import open_lanes
from quotes.settings import Settings

MIB = 1 << 20


@asynccontextmanager
async def planning(
    settings: Settings,
    *,
    now: datetime | Callable[[], datetime],
    room: int = MIB,
    log: Settings | None = None,
) -> AsyncIterator[Plans]:
    """With a clock of the test's own; `room` is in bytes, and the feed may read another `log`."""
    async with (
        open_lanes(settings) as lanes,
        open_lanes(log or settings) as of_feed,
        open_feed(of_feed.live, of_feed.listen, of_feed.replays) as (feed, _),
    ):
        await feed.current(BOUND)
        single_flight = SingleFlight(feed)
        context = Context(
            settings,
            lanes.sessions,
            lanes.queries,
            lanes.replays,
            feed,
            single_flight,
            Newest(feed, lanes.replays, single_flight),
            Collected(settings.selection, lanes.sessions),
            now=(lambda: now) if isinstance(now, datetime) else now,
        )
        yield Plans(context, Answers(feed, room))
