"""What must hold before `up` starts anything; each fault is a sentence that says the next step."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quotes.machine.server import make_folder, take_lock


class PreflightError(Exception):
    """Something outside of us stands in the way of a start."""


def check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PreflightError(
                f"Port {port} on {host} is in use by another program. "
                "Stop that one, or set QUOTES_PORT to a free port."
            ) from None
        raise PreflightError(
            f"Cannot listen on {host}:{port} ({error.strerror}). "
            "Set QUOTES_HOST to an address of this machine and QUOTES_PORT to a free port."
        ) from None


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold the folder until the block ends, or this process does, however it dies."""
    try:
        make_folder(folder)
        file = (folder / "up.lock").open("a+")
    except OSError as error:
        raise PreflightError(
            f"{folder} cannot be used for data ({error.strerror}). "
            "Set QUOTES_DATA_DIR to a folder that this user may write."
        ) from None
    with file:
        if not take_lock(file):
            file.seek(0)
            raise PreflightError(
                f"{folder} is in use by another `quotes up` (process {file.read().strip()}). "
                "Stop that one, or set QUOTES_DATA_DIR to another folder."
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
