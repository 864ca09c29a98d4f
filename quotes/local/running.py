"""The lock by which an `up` owns its data folder, and by which other commands find it."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from quotes.local.preflight import PreflightError
from quotes.local.processes import clear_libpq
from quotes.local.server import make_folder, take_lock
from quotes.settings import PREFIX, Settings

_FILE = "up.lock"


def folder(settings: Settings, *, made_up: bool) -> Path:
    """Where the data is; made-up prices have a place of their own."""
    return settings.data_dir / "demo" if made_up else settings.data_dir


@contextmanager
def hold(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Lock the folder until the block ends, or this process does.

    `environment` is for commands that join; it must not contain secrets.
    """
    try:
        make_folder(folder)
        file = (folder / _FILE).open("a+")
    except OSError as error:
        raise PreflightError(
            f"{folder} cannot be used for data ({error.strerror}). "
            "Set QUOTES_DATA_DIR to a folder that this user may write."
        ) from None
    with file:
        if not take_lock(file):
            raise PreflightError(
                f"{folder} is in use by another `quotes up` (process {_read(file)['process']}). "
                "Stop that one, or set QUOTES_DATA_DIR to another folder."
            )
        file.truncate(0)
        json.dump({"process": os.getpid(), "environment": dict(environment)}, file)
        file.flush()
        yield


def join(settings: Settings) -> None:
    """Point this process at the embedded servers of the `up` that runs here, if there is one.

    An `up` with real prices takes precedence over a demo.
    """
    found = _environment(settings)
    if f"{PREFIX}DATABASE_URL" in found:
        clear_libpq(os.environ)
    os.environ.update(found)


def _environment(settings: Settings) -> dict[str, str]:
    for made_up in (False, True):
        with suppress(OSError), (folder(settings, made_up=made_up) / _FILE).open() as file:
            if not take_lock(file):
                return dict(_read(file)["environment"])
    return {}


def _read(file: IO[str]) -> dict[str, Any]:
    file.seek(0)
    try:
        return dict(json.load(file))
    except ValueError:  # it is just being written
        return {"process": "just starting", "environment": {}}
