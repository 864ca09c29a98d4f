"""What commands do first: read the settings, log, find the database, or go on as another module.

As in `cli`, libraries that take seconds are imported where they are needed.
"""

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from quotes.settings import Settings

Wait = Annotated[
    float,
    typer.Option("--wait", min=1, metavar="SECONDS", help="How long to wait for the database."),
]


def settings(process: str, *, database: bool = False, redis: bool = False) -> "Settings":
    """As `load`; logs from here on, and warns of names that are no setting."""
    import structlog

    from quotes import logs
    from quotes.settings import unknown_names

    loaded = load(database=database, redis=redis)
    logs.configure(loaded.log_format, process=process, level=loaded.log_level)
    for unknown in unknown_names():
        structlog.get_logger().warning("setting_unknown", **asdict(unknown))
    return loaded


def load(*, database: bool = False, redis: bool = False) -> "Settings":
    """Read the settings. Ends with status 2 where one is wrong, or missing and needed."""
    from quotes.settings import Settings, SettingsError

    try:
        loaded = Settings.load()
        if database:
            loaded.require_database_url()
        if redis:
            loaded.require_redis_url()
    except SettingsError as error:
        refuse(error)
    return loaded


def database_here(process: str, wait: float) -> str:
    """The database's URL, once it answers: the one named, else that of the `up` that runs here."""
    loaded = settings(process)
    if loaded.database_url is None:
        join(loaded)
        loaded = load(database=True)
    url = loaded.require_database_url()
    wait_for_database(url, wait)
    return url


def queue_here() -> "Settings":
    """Settings with a queue: the one named, else that of the `up` that runs here."""
    loaded = settings("queue")
    if loaded.redis_url is None:
        join(loaded)
        loaded = load(redis=True)
    return loaded


def servers_here(process: str) -> "Settings":
    """Settings with a database and a queue: those named, else those of the `up` that runs here."""
    loaded = settings(process)
    if loaded.database_url is None or loaded.redis_url is None:
        join(loaded)
        loaded = load(database=True, redis=True)
    return loaded


def join(loaded: "Settings") -> None:
    """Go on with the embedded servers of the `up` that runs here, if there is one."""
    from quotes.local import running

    running.join(loaded)


def wait_for_database(url: str, seconds: float) -> None:
    """Ends with status 1 where there is none within the time."""
    import asyncio

    from quotes.database import outages
    from quotes.settings import FAILED, SettingsError

    try:
        asyncio.run(outages.wait_until_available(url, seconds=seconds))
    except SettingsError as error:
        refuse(error)
    except outages.StillUnavailableError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None


def refuse(error: Exception) -> NoReturn:
    from quotes.settings import REFUSED

    typer.echo(str(error), err=True)
    raise typer.Exit(REFUSED) from None


def become(module: str, *words: str) -> None:
    """Go on as `module` in this very process: `quotes` does not import `workers`."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *words])  # noqa: S606 # the very purpose
