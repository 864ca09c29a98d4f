"""periodiq's process, a child of the scheduler's: sends the periodic messages when they are due."""

import ctypes
import os
import signal
import sys
import time

import periodiq
import redis
import structlog

from quotes import logs
from quotes.settings import Settings
from workers.scheduler import QUEUE_UNAVAILABLE

log = structlog.get_logger(__name__)

PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def main() -> int:
    os.environ["TZ"] = "UTC"  # periodiq interprets cron lines in the local time zone
    time.tzset()
    settings = Settings.load()
    logs.configure(settings.log_format, process="periodiq", level=settings.log_level)
    _die_with_parent()
    from workers import actors  # noqa: PLC0415  # after the logs, so that all lines look alike

    # An empty path: periodiq would put the current folder before our modules.
    options = periodiq.make_argument_parser().parse_args(["workers.actors", "--path"])
    try:
        # Workers drop a tick that periodiq sends late in the minute; filling gaps need not wait for
        # the next one.
        actors.fill_gaps.send()
        return int(periodiq.main(options))
    except (redis.ConnectionError, redis.TimeoutError):
        return QUEUE_UNAVAILABLE  # the scheduler logs the reason
    except redis.RedisError as error:
        log.error("queue_refused", reason=str(error))  # noqa: TRY400  # not a fault of the code
        return QUEUE_UNAVAILABLE


def _die_with_parent() -> None:
    """A process that outlived a killed scheduler would duplicate the next leader's messages."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
