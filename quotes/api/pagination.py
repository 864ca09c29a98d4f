"""Keyset pages of one ticker's quotes: the arguments of `prices`, and the page they name."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from quotes.api import cursors
from quotes.api.context import Context, require_kept
from quotes.api.errors import Code, RefusedError, bad_input
from quotes.database import models
from quotes.database.log import store
from quotes.database.sessions import Sessions

DEFAULT_SIZE = 1_440  # a whole day
LARGEST_SIZE = 10_000
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which quotes are requested."""

    range: store.Span  # what `date`, `from` and `to` name
    span: store.Span  # what `after` and `before` leave of it
    size: int
    from_the_end: bool  # `last` rather than `first`


def earliest(span: store.Span) -> datetime | None:
    """The earliest minute that is named; the last one where the span has no beginning."""
    return span.since or (None if span.until is None else span.until - MINUTE)


async def require_kept_page(context: Context, page: Page) -> None:
    """Raises RefusedError where the page lies in, or goes on from, minutes no longer kept."""
    await require_kept(context, earliest(page.range))
    try:
        await require_kept(context, earliest(page.span))
    except RefusedError as error:
        message = f"The minute of that cursor is no longer kept. {error.message}"
        raise RefusedError(Code.CURSOR_LOST, message, **error.more) from None


def span(
    ticker: str, day: date | None, since: datetime | None, until: datetime | None
) -> store.Span:
    """Raises RefusedError where the arguments contradict one another."""
    if day is not None:
        if since is not None or until is not None:
            raise bad_input("Give either `date`, or `from` and `to`, not both.")
        since = datetime.combine(day, time(), UTC)
        try:
            until = since + timedelta(days=1)
        except OverflowError:
            until = None
    elif since is not None and until is not None and since >= until:
        raise bad_input("`from` must be before `to`; the range is [from, to).")
    return store.Span(ticker, since, until)


def page(
    span: store.Span, first: int | None, after: str | None, last: int | None, before: str | None
) -> Page:
    """Raises RefusedError where the arguments contradict one another or are out of bounds."""
    if first is not None and last is not None:
        raise bad_input("Give either `first` or `last`, not both.")
    return Page(
        range=span,
        span=_within(
            span,
            since=None if after is None else cursors.minute_of(after) + MINUTE,
            until=None if before is None else cursors.minute_of(before),
        ),
        size=_size(first if last is None else last),
        from_the_end=last is not None,
    )


def _within(span: store.Span, *, since: datetime | None, until: datetime | None) -> store.Span:
    """What of the span is also in [since, until)."""
    latest_start = max(filter(None, (span.since, since)), default=None)
    earliest_end = min(filter(None, (span.until, until)), default=None)
    return store.Span(span.ticker, latest_start, earliest_end)


def _size(asked: int | None) -> int:
    size = DEFAULT_SIZE if asked is None else asked
    if not 1 <= size <= LARGEST_SIZE:
        raise bad_input(f"A page holds 1 to {LARGEST_SIZE:,} quotes; {size:,} were requested.")
    return size


async def read(sessions: Sessions, page: Page) -> list[models.Quote]:
    """The page's quotes, oldest first."""
    async with sessions() as session:
        quotes = await store.page(
            session, page.span, limit=page.size, newest_first=page.from_the_end
        )
    return list(reversed(quotes)) if page.from_the_end else list(quotes)


def preceding(page: Page, first: datetime | None) -> store.Span | None:
    """What of the range lies before the page, whose first minute that is; None for nothing."""
    until = page.span.since if first is None else first
    return None if until is None else _within(page.range, since=None, until=until)


def following(page: Page, last: datetime | None) -> store.Span | None:
    """What of the range lies after the page, whose last minute that is; None for nothing."""
    since = page.span.until if last is None else last + MINUTE
    return None if since is None else _within(page.range, since=since, until=None)


async def earlier(sessions: Sessions, page: Page, quotes: list[models.Quote]) -> bool:
    """Whether the range holds quotes before the page."""
    return await _any(sessions, preceding(page, quotes[0].minute if quotes else None))


async def later(sessions: Sessions, page: Page, quotes: list[models.Quote]) -> bool:
    """Whether the range holds quotes after the page."""
    return await _any(sessions, following(page, quotes[-1].minute if quotes else None))


async def _any(sessions: Sessions, span: store.Span | None) -> bool:
    if span is None:
        return False
    async with sessions() as session:
        return bool(await store.page(session, span, limit=1))
