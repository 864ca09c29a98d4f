"""The command line: `quotes`.

Each command imports what it needs when it runs: the libraries of one take seconds that the others
need not wait for.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

app = typer.Typer(
    help=(
        "A self-hosted price service: one exact index price per ticker and minute, served by "
        "GraphQL.\n\n"
        "On one machine, `quotes up` is all it takes. Elsewhere run `migrate` once, then any "
        "number of `api` and `worker`, and a `scheduler`. Each is configured by QUOTES_* in the "
        "environment or in a .env file; the README lists them."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@contextmanager
def _settings_faults_told() -> Iterator[None]:
    from quotes.settings import SettingsError

    try:
        yield
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


@app.command()
def up(
    *,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="Ask a built-in stand-in exchange: no internet, made-up prices."
        ),
    ] = False,
) -> None:
    """Run everything on this machine, until Ctrl-C.

    Starts a PostgreSQL and a Valkey of its own where QUOTES_DATABASE_URL and QUOTES_REDIS_URL are
    not set, migrates, then runs the API, a worker and the scheduler.
    """
    with _settings_faults_told():
        from quotes.local import up
        from quotes.settings import Settings

        raise typer.Exit(up.run(Settings.load(), demo=demo))


@app.command()
def api() -> None:
    """Serve GraphQL, subscriptions and the pages. Needs QUOTES_DATABASE_URL."""
    with _settings_faults_told():
        from quotes import logs
        from quotes.settings import Settings

        settings = Settings.load()
        settings.require_database_url()
        logs.configure(settings.log_format, process="api")
        from quotes.server import app as application

        application.serve(settings)


@app.command()
def worker() -> None:
    """Ask the exchange and keep its prices. Needs QUOTES_DATABASE_URL and QUOTES_REDIS_URL."""
    _become("workers.worker")


@app.command()
def scheduler() -> None:
    """Tell the workers each minute. A second one waits for the first to end. Needs both URLs."""
    _become("workers.scheduler")


@app.command()
def migrate(
    revision: Annotated[
        str, typer.Option(help="Where to go, up or down: a revision's number, head or base.")
    ] = "head",
) -> None:
    """Bring the database's tables to this release's shape. Needs QUOTES_DATABASE_URL."""
    from quotes.database import revisions

    choices = ["base", *revisions.known(), "head"]
    if revision not in choices:
        raise typer.BadParameter(f"{revision} is none of {', '.join(choices)}.")
    with _settings_faults_told():
        from quotes import logs
        from quotes.settings import Settings

        settings = Settings.load()
        url = settings.require_database_url()
    logs.configure(settings.log_format, process="migrate")
    from quotes.database import connections, migrations
    from quotes.database.errors import DatabaseError

    try:
        migrations.migrate(url, revision)
    except connections.UnsupportedServerError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except DatabaseError as error:
        typer.echo(f"Cannot migrate the database of QUOTES_DATABASE_URL: {error}", err=True)
        raise typer.Exit(1) from None


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
) -> None:
    """Keep the past that the exchange still tells. Safe to stop and to run again.

    The workers do the same for each new ticker by themselves. Without QUOTES_DATABASE_URL it is
    done for the `up` that runs on this machine.
    """
    with _settings_faults_told():
        from quotes.local import running
        from quotes.settings import Settings

        settings = Settings.load()
        if settings.database_url is None:
            os.environ.update(running.environment(settings))
    words = [*(tickers or []), *([] if range_ is None else [f"--range={range_}"])]
    _become("workers.backfill", *words, queue=False)


@app.command()
def schema() -> None:
    """Print the GraphQL schema, as schema.graphql holds it."""
    from quotes.api.schema import sdl

    sys.stdout.write(sdl())


def _become(module: str, *words: str, queue: bool = True) -> None:
    """Go on as `module` in this very process: `quotes` does not import `workers`."""
    with _settings_faults_told():
        from quotes.settings import Settings

        settings = Settings.load()
        settings.require_database_url()
        if queue:
            settings.require_redis_url()
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *words])  # noqa: S606 # the very purpose
