"""The command line: `quotes`.

Each command imports what it needs when it runs: the libraries of one take seconds that the others
need not wait for.
"""

import sys
from typing import Annotated

import typer

from quotes.local import start
from quotes.local.commands import data, queue

app = typer.Typer(
    help=(
        "A self-hosted price service: one exact index price per ticker and minute, served by "
        "GraphQL.\n\n"
        "On one machine, `quotes up` is all it takes. Elsewhere run `migrate` once, then any "
        "number of `api` and `worker`, and a `scheduler`. Each is configured by QUOTES_* in the "
        "environment or in a .env file; docs/settings.md lists them."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  # as typer calls it
    if wanted:
        from importlib.metadata import version

        typer.echo(f"quotes {version('quotes')}")
        raise typer.Exit


@app.callback()
def quotes(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version of this release.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    pass


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
    settings = start.settings("up")
    from quotes.local import up

    raise typer.Exit(up.run(settings, demo=demo))


@app.command()
def api() -> None:
    """Serve GraphQL, subscriptions and the pages. Needs QUOTES_DATABASE_URL."""
    settings = start.settings("api", database=True)
    from quotes.server import process
    from quotes.settings import SettingsError

    try:
        process.serve(settings)
    except SettingsError as error:
        start.refuse(error)


@app.command()
def worker() -> None:
    """Collect prices from the exchange. Needs QUOTES_DATABASE_URL and QUOTES_REDIS_URL."""
    start.settings("worker", database=True, redis=True)
    start.become("workers.worker")


@app.command()
def scheduler() -> None:
    """Start each minute's work. A second one waits for the first to end. Needs both URLs."""
    start.settings("scheduler", database=True, redis=True)
    start.become("workers.scheduler")


@app.command()
def migrate(
    revision: Annotated[
        str, typer.Option(help="Where to go, up or down: a revision's number, head or base.")
    ] = "head",
    wait: start.Wait = 60,
) -> None:
    """Bring the database's tables to this release's schema. Needs QUOTES_DATABASE_URL."""
    from quotes.database.maintenance import revisions

    choices = ["base", *revisions.known(), "head"]
    if revision not in choices:
        raise typer.BadParameter(f"{revision} is none of {', '.join(choices)}.")
    url = start.settings("migrate", database=True).require_database_url()
    start.wait_for_database(url, wait)
    from quotes.database import connections
    from quotes.database.errors import DatabaseError
    from quotes.database.maintenance import migrations
    from quotes.settings import FAILED

    try:
        migrations.migrate(url, revision)
    except connections.UnsupportedServerError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
    except DatabaseError as error:
        typer.echo(f"Cannot migrate the database of QUOTES_DATABASE_URL: {error}", err=True)
        raise typer.Exit(FAILED) from None


app.add_typer(data.app)
app.add_typer(queue.app, name="queue")


@app.command()
def doctor() -> None:
    """Check all that this service needs, and give a remedy for each fault.

    Looks at the database and what arrives in it, the queue, the exchange and its clock, the disk,
    the names that browsers may use and the page. Status 1 where a check failed. Without
    QUOTES_DATABASE_URL it looks at the `up` that runs on this machine.
    """
    settings = start.servers_here("doctor")
    from quotes.local.doctor import run

    raise typer.Exit(run.run(settings))


token = typer.Typer(
    help="Who may query where QUOTES_ACCESS is token.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(token, name="token")
TokenName = Annotated[str, typer.Argument(metavar="NAME", help="Whose the token is.")]


@token.command("add")
def add_token(name: TokenName, *, wait: start.Wait = 60) -> None:
    """Make a token and print it, once: only its hash is stored."""
    from quotes.local.commands import tokens

    raise typer.Exit(tokens.add(start.database_here("token", wait), name))


@token.command("list")
def list_tokens(*, wait: start.Wait = 60) -> None:
    """Print the tokens' names, and when each was added."""
    from quotes.local.commands import tokens

    raise typer.Exit(tokens.show(start.database_here("token", wait)))


@token.command("remove")
def remove_token(name: TokenName, *, wait: start.Wait = 60) -> None:
    """Remove a token, and close what its holder has open, within 5 seconds."""
    from quotes.local.commands import tokens

    raise typer.Exit(tokens.remove(start.database_here("token", wait), name))


@app.command()
def schema() -> None:
    """Print the GraphQL schema, as schema.graphql holds it."""
    from quotes.api.schema import sdl

    sys.stdout.write(sdl())
