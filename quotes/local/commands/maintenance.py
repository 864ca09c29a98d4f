"""The commands `quotes forget` and `quotes rebuild`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.prompt import Confirm

from quotes.database.errors import DatabaseError
from quotes.database.maintenance import removal
from quotes.database.sessions import Sessions, open_engine
from quotes.market import tickers as names

OK, STOPPED, REFUSED = 0, 1, 2  # exit statuses


def forget(
    url: str, tickers: Sequence[str], since: str | None, until: str | None, *, confirmed: bool
) -> int:
    """Remove the quotes of [since, until), without a bound where None; the exit status."""
    try:
        wanted = [*dict.fromkeys(map(names.parse, tickers))]
        begin, end = _moment("--from", since), _moment("--to", until)
    except ValueError as error:
        return _stop(str(error), REFUSED)
    if begin and end and begin >= end:
        return _stop("--from is to be earlier than --to.", REFUSED)

    async def run(sessions: Sessions) -> int:
        async with sessions() as session:
            found = [each for name in wanted if (each := await removal.extent(session, name))]
        extents = [each for extent in found if (each := _cut(extent, begin, end))]
        question = f"Remove {_what(wanted, begin, end)} for good?"
        if not confirmed and not await asyncio.to_thread(_confirmed, question):
            return _stop("Nothing was removed. Confirm with y, or with --yes.", STOPPED)
        removed = 0
        async for piece in _progress("Removing", extents):
            removed += await sessions.transact(partial(removal.remove, piece=piece))
        for name in wanted:
            await sessions.transact(partial(removal.forget_charts, ticker=name))
        print(f"{removed:,} quotes of {', '.join(wanted)} were removed.")
        return OK

    return run_on(url, "forget", run)


def rebuild(url: str, tickers: Sequence[str]) -> int:
    """Rebuild the tickers' hours, or all if none is named."""
    try:
        wanted = [*dict.fromkeys(map(names.parse, tickers))]
    except ValueError as error:
        return _stop(str(error), REFUSED)

    async def run(sessions: Sessions) -> int:
        async with sessions() as session:
            chosen = wanted or await removal.tickers(session)
            extents = [each for name in chosen if (each := await removal.extent(session, name))]
        async for piece in _progress("Rebuilding", extents):
            await sessions.transact(partial(removal.rebuild, piece=piece))
        print(f"The hours of {len(extents)} tickers were rolled up anew.")
        return OK

    return run_on(url, "rebuild", run)


def run_on(url: str, name: str, work: Callable[[Sessions], Awaitable[int]]) -> int:
    """Do a command's work on the database; the exit status."""

    async def run() -> int:
        async with open_engine(url, name=name, size=1) as engine:
            return await work(Sessions(engine))

    try:
        return asyncio.run(run())
    except DatabaseError as error:
        return _stop(f"Stopped: {error}. Run this again for the rest.", STOPPED)
    except KeyboardInterrupt:
        return _stop("Stopped. Run this again for the rest.", STOPPED)


async def _progress(what: str, extents: Sequence[removal.Extent]) -> AsyncIterator[removal.Extent]:
    """The chunks of all extents; on a terminal with a progress bar."""
    pieces = [piece for each in extents for piece in each.chunks()]
    console = Console(highlight=False, markup=False)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=len(pieces))
        for piece in pieces:
            yield piece
            progress.advance(task)


def _cut(
    extent: removal.Extent, since: datetime | None, until: datetime | None
) -> removal.Extent | None:
    begin, end = max(extent.since, since or extent.since), min(extent.until, until or extent.until)
    return removal.Extent(extent.ticker, begin, end) if begin < end else None


def _moment(option: str, written: str | None) -> datetime | None:
    """Raises ValueError, with a sentence for the user."""
    if written is None:
        return None
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(
            f"{option} {written[:40]!r} is no time; write it as 2026-11-22T00:00:00Z."
        ) from None
    if moment.tzinfo is None:
        raise ValueError(f"{option} {written[:40]!r} has no time zone; write it with a Z for UTC.")
    return moment.astimezone(UTC)


def _what(tickers: Sequence[str], since: datetime | None, until: datetime | None) -> str:
    bounds = [
        f"{word} {moment.isoformat()}"
        for word, moment in (("from", since), ("to", until))
        if moment
    ]
    return " ".join(
        [f"the quotes of {', '.join(tickers)}", *(bounds or ["and all that is known of them"])]
    )


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return Confirm.ask(question, default=False)


def _stop(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status
