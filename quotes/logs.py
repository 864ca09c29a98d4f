"""One formatter for our log lines and every library's: readable on a terminal, JSON elsewhere.

Warnings and errors that repeat are sampled, so that an outage writes a line when it begins and one
each minute, however many loops and requests meet it.
"""

import logging
import logging.config
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

_SHARED: list[structlog.typing.Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

Style = Literal["console", "json"]
# There is none below: the libraries' own details would show what clients send, and their secrets.
Level = Literal["info", "warning", "error"]

LIBRARY = "library_log"  # the event of every line that is a library's; its text is in `message`
SAMPLE_SECONDS = 60.0  # a line that repeats is written once in so many
SAMPLE_LINES = 60  # different lines of one event in so many seconds

# Each writes a line for every message or request at INFO; ours is one line per unit of work.
_QUIET = {
    "asyncio": "WARNING",
    "dramatiq": "WARNING",
    "periodiq": "WARNING",
    "alembic": "WARNING",
    "uvicorn": "WARNING",
    "aiohttp.access": "WARNING",
}


def _console() -> list[structlog.typing.Processor]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]


def _json() -> list[structlog.typing.Processor]:
    frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(frames), structlog.processors.JSONRenderer()]


# Neither shows a frame's variables: one of them may be a URL with its password.
_RENDER = {"console": _console, "json": _json}


@dataclass(slots=True)
class _Window:
    """One event's lines since the window began, each with how many equal ones were left out."""

    began: float
    before: dict[str, int]  # the same of the window before this one
    lines: dict[str, int] = field(default_factory=dict)


class Sample(logging.Filter):
    """Lets the first of equal warnings pass, then one in SAMPLE_SECONDS with the count of the rest.

    Lines are equal where they differ in numbers alone. An INFO line says that something is well
    again: whatever its logger writes after that is news, also where `level` keeps INFO out.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, level: int = logging.INFO
    ) -> None:
        super().__init__()
        self._clock = clock
        self._level = level
        self._lock = threading.Lock()
        self._windows: dict[str, dict[str, _Window]] = {}  # by logger, then by event

    def filter(self, record: logging.LogRecord) -> bool:
        with self._lock:
            if record.levelno == logging.INFO:
                self._windows.pop(record.name, None)
            if record.levelno < self._level:
                return False
            return record.levelno < logging.WARNING or self._is_news(record)

    def _is_news(self, record: logging.LogRecord) -> bool:
        event, line = _identity(record)
        window = self._window(self._windows.setdefault(record.name, {}), event)
        if line in window.lines:
            window.lines[line] += 1
            return False
        if len(window.lines) == SAMPLE_LINES:
            return False
        window.lines[line] = 0
        if repeated := window.before.get(line):
            _add(record, repeated=repeated)
        return True

    def _window(self, windows: dict[str, _Window], event: str) -> _Window:
        now = self._clock()
        window = windows.get(event)
        if window is None or now - window.began >= SAMPLE_SECONDS:
            window = windows[event] = _Window(now, window.lines if window else {})
        return window


def _identity(record: logging.LogRecord) -> tuple[str, str]:
    """The event, and the whole line but for its numbers."""
    fields = dict(record.msg) if isinstance(record.msg, dict) else {"event": LIBRARY}
    raised = fields.pop("exc_info", record.exc_info)
    error = raised[1] if isinstance(raised, tuple) else raised
    text = "" if isinstance(record.msg, dict) else record.getMessage()
    line = f"{fields} {text} {error!r}"
    return str(fields["event"]), re.sub(r"0x[0-9a-f]+|\d+", "#", line)


def _add(record: logging.LogRecord, **fields: object) -> None:
    if isinstance(record.msg, dict):
        record.msg = {**record.msg, **fields}
    else:
        record.__dict__.update(fields)


def _named(process: str) -> structlog.typing.Processor:
    def add(
        logger: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["process"] = process
        return event

    return add


def _library(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """A library's text varies; the name of an event does not."""
    event["message"] = event["event"]
    event["event"] = LIBRARY
    return event


def configure(style: Style, *, process: str, level: Level = "info") -> None:
    """Send this process's records from `level` up to stderr. `process` is its name in each line."""
    shared = [_named(process), *_SHARED]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "one": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": [*shared, _library],
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        *_RENDER[style](),
                    ],
                }
            },
            "filters": {"sample": {"()": Sample, "level": logging.getLevelName(level.upper())}},
            "handlers": {
                "stderr": {
                    "class": "logging.StreamHandler",
                    "formatter": "one",
                    "filters": ["sample"],
                }
            },
            "root": {"handlers": ["stderr"], "level": "INFO"},
            "loggers": {name: {"level": level, "handlers": []} for name, level in _QUIET.items()},
        }
    )
    logging.captureWarnings(capture=True)
    _log_crashes()


def _log_crashes() -> None:
    """An exception that nothing catches is a log event, too."""
    log = structlog.get_logger()

    def crashed(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("process_crashed", exc_info=(kind, error, trace))

    def thread_crashed(crash: threading.ExceptHookArgs) -> None:
        if crash.exc_type is not SystemExit:
            raised = (crash.exc_type, crash.exc_value, crash.exc_traceback)
            log.critical(
                "thread_crashed", thread=crash.thread and crash.thread.name, exc_info=raised
            )

    def ignored(exception: Any) -> None:
        raised = (exception.exc_type, exception.exc_value, exception.exc_traceback)
        log.error("exception_ignored", exc_info=raised)

    sys.excepthook, threading.excepthook, sys.unraisablehook = crashed, thread_crashed, ignored
