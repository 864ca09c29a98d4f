"""The web process: a server around the application, on a socket of its own."""

import gc
import resource
import signal
import socket
import sys

import structlog

from quotes import metrics
from quotes.server.app import create_app
from quotes.server.protocol.server import Server
from quotes.settings import Settings, SettingsError

log = structlog.get_logger()

USER_TIMEOUT = 30_000  # ms that the kernel waits for a peer that acknowledges nothing
OTHER_FILES = 256  # besides connections: databases, logs, libraries; and those being refused


def server(settings: Settings) -> Server:
    """It listens on the sockets that it is run with."""
    return Server(create_app(settings), settings)


def serve(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM, then exit with 0, or another status where a loop has died.

    Raises SettingsError where the address cannot be bound.
    """
    running = server(settings)
    # uvicorn raises the signal that ended it again when it is done: exit then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(running.exit_status))
    allow_many_files(settings)
    collect_garbage_seldom()
    with (
        listen(settings.host, settings.port) as listener,
        metrics.exposed(settings, metrics.Process.API, running.collector()),
    ):
        running.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Raises SettingsError where the address cannot be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"Cannot listen on {host}:{port} ({reason}). Set QUOTES_PORT to a free port, "
            "or QUOTES_HOST to an address of this machine."
        ) from None
    if sys.platform == "linux":  # accepted connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
    return listener


def collect_garbage_seldom() -> None:
    """What an answer is made of dies by its reference counts; the collector finds next to nothing.

    Beside candle queries it took 28 % of the CPU, in pauses of up to 240 ms, mostly to look through
    the modules again and again. They are left out now, and so it takes 2 %. What it does find is
    what validating new documents leaves, a thousand objects each; it looks at few of them at a
    time, which are still in the CPU's caches. On a busy machine 50,000 took up to 109 ms, and 40 %
    of the CPU of new documents; 2,000 take 5 ms, and 20 %. All that live are looked through rarely.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 5, 5_000)


def allow_many_files(settings: Settings) -> None:
    """Raise the limit of open files to the hard limit: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    needed = settings.max_connections + settings.max_sockets + OTHER_FILES
    if needed > most:
        log.warning(
            "open_files_limited",
            allowed=most,
            needed=needed,
            how="raise the limit (ulimit -Hn), or lower QUOTES_MAX_SOCKETS",
        )
