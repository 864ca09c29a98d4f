"""The command `quotes export`."""

import asyncio
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quotes.database import connections
from quotes.database.connections import Pool
from quotes.database.errors import DatabaseError
from quotes.database.log import store
from quotes.database.log.store import Span
from quotes.database.queries import exports
from quotes.database.queries.exports import Version
from quotes.database.sessions import Sessions, open_engine
from quotes.export.archive import Archive
from quotes.export.files import ChangedError, File, Format, read
from quotes.export.parquet import HOW
from quotes.export.periods import Period, days
from quotes.market.intervals import EPOCH
from quotes.market.tickers import parse
from quotes.settings import FAILED, REFUSED

SAVE = 2.0  # seconds between two writes of a manifest: what is stopped in between is done again


class _Refused(Exception):  # noqa: N818  # it is no error of ours
    """What was asked for cannot be exported; the message says what to change."""


def export(  # noqa: PLR0913  # the command's own options
    url: str, tickers: Sequence[str], *, since: str | None, until: str | None, form: str, out: Path
) -> int:
    """Write a file for each ticker and day of [since, until) that has changed; the exit status."""
    try:
        wanted = [*dict.fromkeys(map(parse, tickers))]
        kind = _format(form)
        begin, end = _bounds(since, until, datetime.now(UTC))
        asyncio.run(_export(url, wanted, begin, end, kind, out))
    except (ValueError, _Refused) as error:
        return _stop(f"{error}.", REFUSED)
    except (DatabaseError, ChangedError) as error:
        return _stop(f"Stopped: {error}. Run this again for the rest.", FAILED)
    except OSError as error:
        return _stop(f"Cannot write to {out}: {error}. Run this again for the rest.", FAILED)
    except KeyboardInterrupt:
        return _stop("Stopped. Run this again for the rest.", FAILED)
    return 0


def _format(text: str) -> Format:
    form = Format.parse(text)
    if form not in Format.available():
        raise _Refused(f"Parquet is not installed here: `{HOW}`, or choose another --format")
    return form


def _bounds(since: str | None, until: str | None, now: datetime) -> tuple[datetime, datetime]:
    begin = EPOCH if since is None else Period.parse(since).since
    end = now if until is None else Period.parse(until).since
    if begin > now:
        raise _Refused(f"--from {since} has not begun yet")
    if begin >= end:
        raise _Refused("--from is to be earlier than --to")
    return begin, end


async def _export(  # noqa: PLR0913, PLR0917  # as above
    url: str, tickers: Sequence[str], since: datetime, until: datetime, form: Format, out: Path
) -> None:
    async with connections.open_pool(url, name="export", size=1) as pool:
        names = tickers or await _all(url)
        stored = {each: await exports.version(pool, Span(each, since, until)) for each in names}
        empty = [name for name in names if not stored[name].count]
        if len(empty) == len(names) or (empty and tickers):
            of = f" of {', '.join(empty)}" if tickers else ""
            raise _Refused(f"Of that time there are no quotes{of} here")
        wanted = {ticker: _days(whole) for ticker, whole in stored.items() if whole.count}
        with _progress(sum(map(len, wanted.values()))) as advance:
            for ticker, of_ticker in wanted.items():
                archive = await asyncio.to_thread(Archive.open, out / ticker)
                await _ticker(
                    pool, archive, [File(ticker, day, form) for day in of_ticker], advance
                )


async def _all(url: str) -> Sequence[str]:
    async with open_engine(url, name="export", size=1) as engine, Sessions(engine)() as session:
        return await store.tickers(session)


def _days(whole: Version) -> list[Period]:
    assert whole.first is not None
    assert whole.newest is not None
    return [*days(whole.first, whole.newest)]


async def _ticker(
    pool: Pool, archive: Archive, files: Sequence[File], advance: Callable[[], None]
) -> None:
    written: list[int] = []
    saved_at = time.monotonic()
    try:
        for file in files:
            count = await _day(pool, file, archive)
            if count is not None:
                written.append(count)
            if time.monotonic() > saved_at + SAVE:
                await asyncio.to_thread(archive.save)
                saved_at = time.monotonic()
            advance()
    finally:
        archive.save()
    print(
        f"{archive.folder}: wrote {len(written):,} days with {sum(written):,} quotes; "
        f"{len(files) - len(written):,} more were up to date."
    )


async def _day(pool: Pool, file: File, archive: Archive) -> int | None:
    """Write a day's file, and return how many quotes it has; None where it was there already."""
    version = await exports.version(pool, file.span)
    if archive.holds(file, version):
        return None
    body = await _body(pool, file, version)
    await asyncio.to_thread(archive.write, file, version, body)
    return version.count


async def _body(pool: Pool, file: File, version: Version) -> bytes:
    """A day is short enough to be written in this process, without one for each file."""
    lines = replace(file, format=Format.CSV) if file.format is Format.PARQUET else file
    body = b"".join([piece async for piece in read(pool, lines, version, _free)])
    if file.format is not Format.PARQUET:
        return body
    from quotes.export import parquet_writer

    target = io.BytesIO()
    await asyncio.to_thread(parquet_writer.write, io.BytesIO(body), target)
    return target.getvalue()


async def _free(rows: int) -> None:
    """Nobody pays."""


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """On a terminal with a progress bar."""
    console = Console(highlight=False, markup=False)
    columns = (TextColumn("Exporting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("export", total=total)
        yield lambda: progress.advance(task)


def _stop(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status
