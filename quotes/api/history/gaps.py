"""How complete a ticker's minutes are, and where and why they are not."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Self

import strawberry

from quotes.api.context import (
    Info,
    SinceFirst,
    TickerArgument,
    UntilNow,
    require_known,
    retired_before,
)
from quotes.api.enums import Cause
from quotes.api.errors import bad_input
from quotes.api.pagination import span
from quotes.database.log import store
from quotes.database.queries import history
from quotes.database.sessions import Sessions
from quotes.live.thread import Thread
from quotes.market import coverage
from quotes.market.coverage import MINUTE

MOST = 5_000  # gaps of one answer
USUAL = 1_000
MORE_HOURS = 1_000  # that are looked through; repaired ones in a row are one gap


@strawberry.type(description="A run of minutes without quotes, or with repaired ones.")
class Gap:
    since: datetime = strawberry.field(name="from", description="Its first minute; included.")
    until: datetime = strawberry.field(name="to", description="The minute after it; excluded.")
    minutes: int = strawberry.field(description="How many minutes it is long.")
    cause: Cause = strawberry.field(
        description="Why most of its minutes were not collected; NOT_ASKED if no attempt failed."
    )
    repaired: bool = strawberry.field(
        description="Whether its quotes were all filled in afterwards; else it has none."
    )

    @classmethod
    def of(cls, gap: coverage.Gap, cause: str | None) -> Self:
        return cls(
            since=gap.since,
            until=gap.until,
            minutes=gap.minutes,
            cause=Cause(cause or Cause.NOT_ASKED),
            repaired=gap.repaired,
        )


@strawberry.type(
    description=(
        "How complete a ticker is over [from, to), minute by minute. History that was backfilled "
        "from hourly or daily averages has one quote an hour or a day, and so many missing minutes."
    )
)
class Gaps:
    since: datetime = strawberry.field(name="from", description="The first minute looked at.")
    until: datetime = strawberry.field(
        name="to", description="The minute after the last looked at; that under way is left out."
    )
    expected: int = strawberry.field(description="How many minutes [from, to) has.")
    present: int = strawberry.field(
        description=(
            "How many of them have a quote, of any origin, or had one before `retiredBefore`."
        )
    )
    missing: int = strawberry.field(description="How many of them have none.")
    repaired: int = strawberry.field(description="How many of them were filled in afterwards.")
    coverage: float | None = strawberry.field(
        description="`present` of `expected`, from 0 to 1; null where nothing is expected."
    )
    nodes: list[Gap] = strawberry.field(description="The gaps, oldest first, at most `first`.")
    more: bool = strawberry.field(
        description="Whether more gaps follow; ask again with the last one's `to` as `from`."
    )
    retired_before: datetime | None = strawberry.field(
        default=None,
        description=(
            "Quotes of minutes before it are no longer kept: not missing, but RETIRED, as `prices` "
            "refuses them. Null where [from, to) has no such minutes."
        ),
    )


@strawberry.type
class GapQuery:
    @strawberry.field(
        description=(
            "How complete a ticker is, and its gaps. Every minute is expected to have a quote, "
            "from `from` or else the ticker's first quote, to `to` or else the last whole minute."
        )
    )
    async def gaps(
        self,
        info: Info,
        ticker: TickerArgument,
        since: SinceFirst = None,
        until: UntilNow = None,
        first: Annotated[
            int | None, strawberry.argument(description=f"At most so many gaps, 1 to {MOST:,}.")
        ] = USUAL,
    ) -> Gaps:
        first = USUAL if first is None else first
        if not 1 <= first <= MOST:
            raise bad_input(f"`first` is 1 to {MOST:,} gaps; {first:,} were requested.")
        asked = span(ticker, None, since, until)
        sessions, thread = info.context.sessions, info.context.thread
        found = await read(sessions, thread, asked, first, info.context.now())
        retired = await retired_before(info.context)
        if retired is not None and found.since < retired:
            found.retired_before = retired
        if not found.present:
            await require_known(info.context, [ticker])
        return found


async def read(  # noqa: PLR0913  # what it reads with, and what
    sessions: Sessions,
    thread: Thread,
    span: store.Span,
    most: int,
    now: datetime,
    *,
    more_hours: int = MORE_HOURS,
) -> Gaps:
    """The gaps among the minutes that begin in the span and are over by `now`.

    At most twice `most` and `more_hours` hours are looked through.
    """
    over = _floor(now)
    until = over if span.until is None else min(_ceiling(min(span.until, now)), over)
    since, limit = span.since, 2 * most + more_hours
    async with sessions() as session:
        await history.freeze(session)
        if since is None:
            oldest = await store.oldest(session, [span.ticker])
            since = oldest[0].minute if oldest else until
        since = min(_ceiling(min(since, now)), until)
        present, repaired = await history.present(session, span.ticker, since, until)
        hours = await history.incomplete_hours(session, span.ticker, since, until, limit)
    found, more = await thread.run(_first, hours, since, until, most, len(hours) == limit)
    async with sessions.primary() as session:
        causes = await history.causes(session, span.ticker, found)
    nodes = await thread.run(_nodes, found, causes)
    expected = (until - since) // MINUTE
    return Gaps(
        since=since,
        until=until,
        expected=expected,
        present=present,
        missing=expected - present,
        repaired=repaired,
        coverage=present / expected if expected else None,
        nodes=nodes,
        more=more,
    )


def _first(
    hours: Sequence[coverage.HourCoverage],
    since: datetime,
    until: datetime,
    most: int,
    cut: bool,  # noqa: FBT001  # as a thread is given it
) -> tuple[list[coverage.Gap], bool]:
    """At most so many gaps, and whether more follow; `cut` if more hours do."""
    end = min(hours[-1].hour + coverage.HOUR, until) if cut else until
    found = coverage.gaps(hours, since, end)
    if cut and len(found) > 1 and found[-1].until == end:
        del found[-1]  # it may go on
    return found[:most], cut or len(found) > most


def _nodes(found: Sequence[coverage.Gap], causes: Mapping[int, str]) -> list[Gap]:
    return [Gap.of(gap, causes.get(place)) for place, gap in enumerate(found)]


def _floor(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _ceiling(moment: datetime) -> datetime:
    whole = _floor(moment)
    return whole if whole == moment else whole + MINUTE
