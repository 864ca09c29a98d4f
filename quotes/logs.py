"""One formatter for our log lines and every library's: readable on a terminal, JSON elsewhere."""

import logging
import logging.config
import sys
from typing import Literal

import structlog

_SHARED: list[structlog.typing.Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

# Each says a line for every message or request at INFO; one line per unit of work is ours to say.
_QUIET = {
    "dramatiq": "WARNING",
    "periodiq": "WARNING",
    "alembic": "WARNING",
    "uvicorn.access": "WARNING",
    "aiohttp.access": "WARNING",
}


def _named(process: str) -> structlog.typing.Processor:
    def add(
        logger: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["process"] = process
        return event

    return add


def configure(style: Literal["console", "json"], *, process: str) -> None:
    """Send every record of this process to stderr. `process` is its name in each line."""
    render: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if style == "console"
        else [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    )
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
                    "foreign_pre_chain": shared,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        *render,
                    ],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "one"}},
            "root": {"handlers": ["stderr"], "level": "INFO"},
            "loggers": {
                # uvicorn brings handlers of its own; they go, and its records rise to the root.
                "uvicorn": {"handlers": [], "propagate": True},
                **{name: {"level": level} for name, level in _QUIET.items()},
            },
        }
    )
