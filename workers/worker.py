"""The worker process: `quotes worker`.

One process with a few threads instead of Dramatiq's own command, which forks children that outlive
a killed parent and pass their log lines through pipes. To scale out, run more of these.
"""

import signal
import sys
import threading
from typing import TYPE_CHECKING

import structlog
from dramatiq import Worker

from quotes import logs, metrics
from quotes.dramatiq_redis import threads
from quotes.settings import FAILED, REFUSED, Settings, SettingsError

if TYPE_CHECKING:
    from workers.process import Process

log = structlog.get_logger()

THREADS = 8  # an actor occupies one while it waits; its work runs on the one event loop
POLL = 200  # milliseconds between two polls of an idle queue
STOP_TIMEOUT = 10_000  # milliseconds for a running message to finish


def main() -> int:
    """Run until SIGINT or SIGTERM: 0. A thread or loop has died: 1. A setting is wrong: 2."""
    try:
        settings = Settings.load()
        logs.configure(settings.log_format, process="worker", level=settings.log_level)
        with metrics.exposed(settings, metrics.Process.WORKER):
            return _run()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED


def _run() -> int:
    """The exit status; raises SettingsError, also for one that a message's work has met."""
    from workers import actors, broker  # noqa: PLC0415  # after configuring the logs, so that every line has one format

    assert actors.collect.broker is broker.broker
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    worker = Worker(broker.broker, worker_timeout=POLL, worker_threads=THREADS)
    worker.start()
    log.info("worker_ready", tickers=list(broker.settings.tickers))
    died = _wait(worker, broker.process, stop)
    worker.stop(timeout=STOP_TIMEOUT)
    broker.broker.close()
    if broker.process.settings_error:
        raise broker.process.settings_error
    if died:
        log.critical("worker_part_died", parts=died)
    return FAILED if died else 0


def _wait(worker: Worker, process: "Process", stop: threading.Event) -> list[str]:
    """Wait for the end; returns the names of the threads and loops that died."""
    while process.settings_error is None and not stop.wait(timeout=1.0):
        died = [thread.name for thread in threads(worker) if not thread.is_alive()]
        if died := [*died, *process.loops_ended]:
            return died
    return []


if __name__ == "__main__":
    sys.exit(main())
