"""The worker process: `quotes worker`.

One process and a few threads, rather than Dramatiq's own command, which forks children that
outlive a killed parent and pass their log lines through pipes. More workers are more of these.
"""

import signal
import sys
import threading

import structlog
from dramatiq import Worker

from quotes import logs
from quotes.settings import Settings

log = structlog.get_logger()

THREADS = 8  # an actor holds one while it waits; the work itself is on one loop
POLL = 200  # milliseconds between two looks at an idle queue
STOP_TIMEOUT = 10_000  # milliseconds that a running message has to end


def main() -> int:
    """Run until SIGINT or SIGTERM: 0. A thread that died: 1."""
    logs.configure(Settings.load().log_format, process="worker")
    from workers import actors, broker  # noqa: PLC0415  # after the logs, so that all lines look alike

    assert actors.collect.broker is broker.broker
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    worker = Worker(broker.broker, worker_timeout=POLL, worker_threads=THREADS)
    worker.start()
    log.info("worker_ready", tickers=list(broker.settings.tickers))
    died = _wait(worker, stop)
    worker.stop(timeout=STOP_TIMEOUT)
    broker.broker.close()
    if died:
        log.critical("worker_thread_died", threads=died)
    return 1 if died else 0


def _wait(worker: Worker, stop: threading.Event) -> list[str]:
    while not stop.wait(timeout=1.0):
        threads = [*worker.workers, *worker.consumers.values()]
        if died := [thread.name for thread in threads if not thread.is_alive()]:
            return died
    return []


if __name__ == "__main__":
    sys.exit(main())
