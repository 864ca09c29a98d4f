"""The commands on the quotes themselves: `quotes backfill`, `forget`, `rebuild` and `export`."""

from pathlib import Path
from typing import Annotated

import typer

from quotes.local import start

app = typer.Typer()


@app.command()
def backfill(
    tickers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TICKER...", help="As btc_usd or BTC; all of QUOTES_TICKERS if none."
        ),
    ] = None,
    *,
    range_: Annotated[
        str | None,
        typer.Option("--range", help="One chart alone: 1h, 1d, 2d, 1m (a month), 1y or all."),
    ] = None,
    wait: start.Wait = 60,
) -> None:
    """Fetch the history that the exchange still has. Safe to stop and to run again.

    The workers do the same for each new ticker by themselves. Without QUOTES_DATABASE_URL it is
    done for the `up` that runs on this machine.
    """
    start.database_here("backfill", wait)
    words = [*(tickers or []), *([] if range_ is None else [f"--range={range_}"])]
    start.become("workers.history.backfill", *words)


@app.command()
def forget(
    tickers: Annotated[list[str], typer.Argument(metavar="TICKER...", help="As btc_usd or BTC.")],
    *,
    since: Annotated[str | None, typer.Option("--from", help="As 2026-11-22T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="The first moment that stays.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: start.Wait = 60,
) -> None:
    """Remove a ticker, or its quotes of [--from, --to), for good. Asks first.

    Its history is fetched anew while it is in QUOTES_TICKERS. May run beside everything else.
    Without QUOTES_DATABASE_URL it is done for the `up` that runs on this machine.
    """
    from quotes.local.commands import maintenance

    url = start.database_here("forget", wait)
    raise typer.Exit(maintenance.forget(url, tickers, since, until, confirmed=yes))


@app.command()
def rebuild(
    tickers: Annotated[
        list[str] | None, typer.Argument(metavar="TICKER...", help="All if none is named.")
    ] = None,
    *,
    wait: start.Wait = 60,
) -> None:
    """Compute the hourly rollup anew, after quotes were deleted or changed by hand."""
    from quotes.local.commands import maintenance

    url = start.database_here("rebuild", wait)
    raise typer.Exit(maintenance.rebuild(url, tickers or []))


@app.command()
def export(  # noqa: PLR0913  # options
    tickers: Annotated[
        list[str] | None,
        typer.Argument(metavar="TICKER...", help="As btc_usd or BTC; all that are stored if none."),
    ] = None,
    *,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="PERIOD", help="From its first day on: 2026-11-24, 2026-11 or 2026."
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", metavar="PERIOD", help="Its first day is the first left out."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="csv, jsonl or parquet.")
    ] = "csv",
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Each ticker has a folder in it.")
    ] = Path(),
    wait: start.Wait = 60,
) -> None:
    """Write quotes to files, one for each ticker and UTC day: FOLDER/btc_usd/2026-11-24.csv.

    Run again, it writes the days that are new or have changed since, as by a repair, and no
    others; so it may be stopped at any time. FOLDER/btc_usd/manifest.json has the length and the
    SHA-256 of each file. Without QUOTES_DATABASE_URL it exports from the `up` that runs on this
    machine.

    \b
    quotes export BTC --out archive                   all there is, up to now
    quotes export BTC ETH --from 2026-11 --to 2026-12 --format parquet
    """
    url = start.database_here("export", wait)
    from quotes.local.commands import export

    status = export.export(url, tickers or [], since=since, until=until, form=form, out=out)
    raise typer.Exit(status)
