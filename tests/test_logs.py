import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys, structlog
from quotes import logs
from quotes.settings import Settings
settings = Settings.load()
logs.configure(settings.log_format, process="test")
def connect():
    url = settings.require_database_url()
    raise OSError("no route")
structlog.get_logger().info("settings_read", settings=str(settings))
logging.getLogger("some.library").warning("it said %s", "this", extra={"field": 7})
try:
    connect()
except OSError:
    structlog.get_logger().exception("lost")
"""


def lines(style: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={
            "QUOTES_DATABASE_URL": "postgresql://me:hunter2@host/quotes",
            "QUOTES_LOG_FORMAT": style,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr.splitlines()


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_line_shows_a_password_not_even_a_traceback_s(style: str) -> None:
    said = "\n".join(lines(style))

    assert "no route" in said
    assert "hunter2" not in said


def test_a_library_s_line_has_the_same_shape_as_ours() -> None:
    ours, theirs, lost = map(json.loads, lines("json"))

    assert theirs["event"] == "it said this"
    assert theirs["field"] == 7
    assert {"process", "level", "logger", "timestamp"} <= ours.keys() & theirs.keys() & lost.keys()
    assert {each["process"] for each in (ours, theirs, lost)} == {"test"}
