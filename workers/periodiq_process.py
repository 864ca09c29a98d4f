"""periodiq's own process, a child of the scheduler's: fires each periodic actor at its minutes."""

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
    os.environ["TZ"] = "UTC"  # periodiq reads its cron lines in the local zone
    time.tzset()
    logs.configure(Settings.load().log_format, process="periodiq")
    _die_with_parent()
    from workers import actors  # noqa: PLC0415  # after the logs, so that all lines look alike

    # An empty path, as periodiq would put the current folder in front of our own modules.
    options = periodiq.make_argument_parser().parse_args(["workers.actors", "--path"])
    try:
        # A tick that periodiq sends late in the minute is too old for the workers; history need
        # not wait for the next.
        actors.fill_gaps.send()
        return int(periodiq.main(options))
    except (redis.ConnectionError, redis.TimeoutError):
        return QUEUE_UNAVAILABLE  # the scheduler finds the reason, and says so
    except redis.RedisError as error:
        log.error("queue_refused", reason=str(error))  # noqa: TRY400  # no fault of the code
        return QUEUE_UNAVAILABLE


def _die_with_parent() -> None:
    """One that outlives a killed scheduler would fire beside the next leader's."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
