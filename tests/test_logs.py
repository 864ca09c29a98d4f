import json
import logging
import subprocess
import sys

import pytest

from quotes import logs

PROGRAM = """
import logging, sys, structlog
from quotes import logs
from quotes.settings import Settings
settings = Settings.load()
logs.configure(settings.log_format, process="test", level=settings.log_level)
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


CRASHES = """
import threading, warnings
from quotes import logs
logs.configure("json", process="test")
warnings.warn("careful")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise OSError("no route")
"""


def lines(style: str, program: str = PROGRAM, *, level: str = "") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            "QUOTES_DATABASE_URL": "postgresql://me:hunter2@host/quotes",
            "QUOTES_LOG_FORMAT": style,
            "QUOTES_LOG_LEVEL": level,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.splitlines()


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_line_shows_a_password_not_even_a_traceback_s(style: str) -> None:
    output = "\n".join(lines(style))

    assert "no route" in output
    assert "hunter2" not in output


def test_a_library_s_line_has_the_same_shape_as_ours() -> None:
    ours, theirs, lost = map(json.loads, lines("json"))

    assert (theirs["event"], theirs["message"]) == ("library_log", "it said this")
    assert theirs["field"] == 7
    assert {"process", "level", "logger", "timestamp"} <= ours.keys() & theirs.keys() & lost.keys()
    assert {each["process"] for each in (ours, theirs, lost)} == {"test"}


def test_warnings_and_crashes_are_events_with_a_fixed_name() -> None:
    events = [json.loads(line)["event"] for line in lines("json", CRASHES)]

    assert events == ["library_log", "thread_crashed", "process_crashed"]


class Sampled:
    """A sampled log on a clock of its own."""

    def __init__(self, level: int = logging.INFO) -> None:
        self.now = 0.0
        self.sample = logs.Sample(lambda: self.now, level=level)

    def written(
        self, level: int, message: object, name: str = "quotes"
    ) -> logging.LogRecord | None:
        record = logging.LogRecord(name, level, "", 0, message, (), None)
        return record if self.sample.filter(record) else None


def event(name: str, **fields: object) -> dict[str, object]:
    return {"event": name, "timestamp": "2026-11-25T00:00:00Z", **fields}


def test_a_warning_that_repeats_is_written_once_a_minute_with_the_count_of_the_rest() -> None:
    log = Sampled()
    written = []
    for second in range(121):
        log.now = float(second)
        written.append(log.written(logging.WARNING, event("lost", reason=f"attempt {second}")))

    assert [second for second, record in enumerate(written) if record] == [0, 60, 120]
    assert written[60] is not None
    assert written[60].msg["repeated"] == 59  # type: ignore[index]  # structlog's records


def test_a_library_s_warning_that_repeats_is_sampled_too() -> None:
    log = Sampled()

    written = [log.written(logging.ERROR, f"Task 0x{number:x} failed") for number in range(1_000)]

    assert sum(record is not None for record in written) == 1


def test_warnings_with_other_fields_are_written_each_up_to_a_bound() -> None:
    log = Sampled()

    few = [log.written(logging.WARNING, event("missed", ticker=name)) for name in ("a", "b")]
    many = [log.written(logging.WARNING, event("failed", path="a" * at)) for at in range(1_000)]

    assert all(few)
    assert sum(record is not None for record in many) == logs.SAMPLE_LINES


def test_a_loss_right_after_a_recovery_is_written() -> None:
    log = Sampled()

    for _ in range(3):
        assert log.written(logging.WARNING, event("lost"))
        assert log.written(logging.WARNING, event("lost")) is None
        assert log.written(logging.INFO, event("found"))


def test_a_level_leaves_out_what_is_below_it_and_a_loss_after_a_recovery_is_still_written() -> None:
    log = Sampled(level=logging.WARNING)

    for _ in range(3):
        assert log.written(logging.WARNING, event("lost"))
        assert log.written(logging.WARNING, event("lost")) is None
        assert log.written(logging.INFO, event("found")) is None


@pytest.mark.parametrize(
    ("level", "events"), [("Warning", ["library_log", "lost"]), ("error", ["lost"])]
)
def test_the_log_level_is_a_setting_in_any_case(level: str, events: list[str]) -> None:
    assert [json.loads(line)["event"] for line in lines("json", level=level)] == events
