"""States that last, in the log."""

import structlog

from workers.conditions import SETTLED, Condition


def test_a_state_that_lasts_is_logged_when_it_begins_now_and_then_and_at_its_end() -> None:
    seconds = iter([float(second) for second in range(1_000)])
    with structlog.testing.capture_logs() as logged:
        state = Condition(structlog.get_logger("test"), "away", now=lambda: next(seconds))
        for _ in range(150):
            state.persists(reason="refused")
        state.ended()
        state.ended()
        state.persists(reason="refused")

    lines = [(line["event"], line.get("seconds_so_far", line.get("seconds"))) for line in logged]
    assert lines == [("away", 0), ("away", 60), ("away", 120), ("away_ended", 150), ("away", 0)]


def test_a_state_that_changes_is_logged_again_though_not_each_time() -> None:
    seconds = iter([float(second) for second in range(100)])
    with structlog.testing.capture_logs() as logged:
        state = Condition(structlog.get_logger("test"), "state", now=lambda: next(seconds))
        for number in range(50):
            state.persists(key=number % 2)

    assert 1 < len(logged) <= 50 / SETTLED + 1
