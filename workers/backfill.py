"""The command `quotes backfill`: `python -m workers.backfill btc_usd --range 1h`."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quotes.database import store
from quotes.database.errors import DatabaseError
from quotes.market import tickers
from quotes.market.sources import MixedError, Range
from quotes.settings import Settings, SettingsError
from workers.backfilling import Filled, backfill
from workers.deribit import Deribit, open_http

OK, MISSED, REFUSED = 0, 1, 2  # exit statuses


async def run(
    settings: Settings, names: Sequence[str], spans: Sequence[Range], tell: Callable[[Filled], None]
) -> int:
    """Backfill the tickers; how many charts could not be had."""
    missed = 0
    async with (
        store.open_engine(settings.require_database_url(), name="backfill") as engine,
        open_http(settings.deribit_url) as http,
    ):
        source, sessions = Deribit(http, settings.deribit_url), store.sessions_of(engine)
        for name in names:
            async for filled in backfill(name, spans, source, sessions, now=datetime.now(UTC)):
                missed += filled.error is not None
                tell(filled)
    return missed


def sentence(filled: Filled) -> str:
    if filled.error is not None:
        return f"{filled.ticker} {filled.span}: nothing ({filled.error})"
    step = "" if filled.step is None else f", one every {filled.step.total_seconds():,.0f} s"
    kept = f"{filled.kept:,} quotes kept"
    return f"{filled.ticker} {filled.span}: {filled.points:,} points{step}; {kept}"


@contextmanager
def _telling(charts: int) -> Iterator[Callable[[Filled], None]]:
    """Lines, and on a terminal a bar below them."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        yield lambda filled: print(sentence(filled), flush=True)
        return
    columns = (TextColumn("Backfilling"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("backfill", total=charts)

        def tell(filled: Filled) -> None:
            console.print(sentence(filled))
            progress.advance(task)

        yield tell


def main() -> int:
    parser = argparse.ArgumentParser(prog="quotes backfill", description=__doc__)
    parser.add_argument("tickers", nargs="*", metavar="TICKER")
    parser.add_argument("--range", choices=[*Range], help="one chart alone")
    options = parser.parse_args()
    spans = [Range(options.range)] if options.range else [*Range]
    try:
        settings = Settings.load()
        settings.require_database_url()
        names = list(dict.fromkeys(map(tickers.parse, options.tickers))) or settings.tickers
        with _telling(len(names) * len(spans)) as tell:
            missed = asyncio.run(run(settings, names, spans, tell))
    except (SettingsError, MixedError, ValueError) as error:
        print(error, file=sys.stderr)
        return REFUSED
    except DatabaseError as error:
        print(f"Stopped: {error}. What is kept stays; run this again.", file=sys.stderr)
        return MISSED
    except KeyboardInterrupt:
        print("Stopped. What is kept stays; run this again for the rest.", file=sys.stderr)
        return MISSED
    return MISSED if missed else OK


if __name__ == "__main__":
    sys.exit(main())
