"""The command `quotes backfill`: `python -m workers.history.backfill btc_usd --range 1h`."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quotes.database.collected import Collected
from quotes.database.errors import DatabaseError
from quotes.database.sessions import Sessions, open_engine
from quotes.market import tickers
from quotes.market.sources import Cause, MixedError, Range, SourceError
from quotes.settings import Settings, SettingsError
from workers.exchange.deribit import Deribit, open_http
from workers.history.charts import SETTLED, Fetched, backfill
from workers.listing import Listing

OK, INCOMPLETE, REFUSED = 0, 1, 2  # exit statuses


async def run(
    settings: Settings,
    names: Sequence[str],
    spans: Sequence[Range],
    report: Callable[[Fetched], None],
) -> int:
    """Backfill the tickers; returns the number of charts that are incomplete."""
    unfinished = 0
    async with (
        open_engine(settings.require_database_url(), name="backfill") as engine,
        open_http(settings.deribit_url) as http,
    ):
        source, sessions = Deribit(http, settings.deribit_url), Sessions(engine)
        for name in names:
            for span in spans:
                now = datetime.now(UTC)
                until = now - SETTLED
                fetched = await backfill(name, span, source, sessions, now=now, until=until)
                unfinished += fetched.reason is not None
                report(fetched)
                if fetched.error and fetched.error.cause is Cause.UNKNOWN_INDEX:
                    break
    return unfinished


async def _collected(settings: Settings) -> tuple[str, ...]:
    """Raises SettingsError where there are none."""
    if not settings.selection.patterns:
        return settings.selection.names
    async with (
        open_engine(settings.require_database_url(), name="backfill") as engine,
        open_http(settings.deribit_url) as http,
    ):
        sessions = Sessions(engine)
        collected = Collected(settings.selection, sessions)
        try:
            await Listing(Deribit(http, settings.deribit_url), sessions, collected).refresh()
        except SourceError as error:
            print(f"The exchange's last known list is used: {error}", file=sys.stderr)
            await collected.read()
    if not collected.in_order:
        raise SettingsError("Nothing on the exchange's list matches QUOTES_TICKERS.")
    return collected.in_order


def summary(fetched: Fetched) -> str:
    if fetched.error is not None:
        return f"{fetched.ticker} {fetched.span}: nothing ({fetched.error})"
    step = "" if fetched.step is None else f", one every {fetched.step.total_seconds():,.0f} s"
    parts = [f"{fetched.points:,} points{step}", f"{fetched.stored:,} quotes stored"]
    if fetched.left_out:
        faults = ", ".join(f"{count:,} {fault}" for fault, count in fetched.left_out.items())
        parts.append(f"{fetched.left_out.total():,} points left out ({faults})")
    if fetched.reason:
        parts.append(f"not finished, since the chart {fetched.reason}; workers fetch it again")
    return f"{fetched.ticker} {fetched.span}: {'; '.join(parts)}"


@contextmanager
def _reporting(charts: int) -> Iterator[Callable[[Fetched], None]]:
    """Print a line for each chart, and on a terminal a progress bar below."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        yield lambda fetched: print(summary(fetched), flush=True)
        return
    columns = (TextColumn("Backfilling"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("backfill", total=charts)

        def report(fetched: Fetched) -> None:
            console.print(summary(fetched))
            progress.advance(task)

        yield report


def main() -> int:
    parser = argparse.ArgumentParser(prog="quotes backfill", description=__doc__)
    parser.add_argument("tickers", nargs="*", metavar="TICKER")
    parser.add_argument("--range", choices=[*Range], help="one chart alone")
    options = parser.parse_args()
    spans = [Range(options.range)] if options.range else [*Range]
    try:
        settings = Settings.load()
        settings.require_database_url()
        named = tuple(dict.fromkeys(map(tickers.parse, options.tickers)))
        names = named or asyncio.run(_collected(settings))
        with _reporting(len(names) * len(spans)) as report:
            unfinished = asyncio.run(run(settings, names, spans, report))
    except (SettingsError, MixedError, ValueError) as error:
        print(error, file=sys.stderr)
        return REFUSED
    except DatabaseError as error:
        print(f"Stopped: {error}. What is stored stays; run this again.", file=sys.stderr)
        return INCOMPLETE
    except KeyboardInterrupt:
        print("Stopped. What is stored stays; run this again for the rest.", file=sys.stderr)
        return INCOMPLETE
    return INCOMPLETE if unfinished else OK


if __name__ == "__main__":
    sys.exit(main())
