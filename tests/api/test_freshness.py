"""Why a ticker has no fresh price."""

from datetime import timedelta

import pytest
from rows import NOON, failure, minute, quote

from quotes.api import freshness
from quotes.database.heartbeats import Heartbeat
from quotes.database.models import Part

NO_QUEUE = "The scheduler cannot reach the queue."


@pytest.mark.parametrize(
    ("worker", "scheduler", "reason"),
    [
        (None, None, "No worker has ever been seen: is `quotes worker` running?"),
        (1, None, "No scheduler has ever been seen: is `quotes scheduler` running?"),
        (200, 1, "No worker has been seen for 3 minutes."),
        (1, 61, "No scheduler has been seen for 1 minute."),
        (1, 90_000, "No scheduler has been seen for 25 hours."),
        (400_000, 1, "No worker has been seen for 4 days."),
        (60, 60, freshness.NOT_REQUESTED),
    ],
)
def test_the_part_that_is_missing_is_named_with_how_long(
    worker: float | None, scheduler: float | None, reason: str
) -> None:
    ages = {Part.WORKER: worker, Part.SCHEDULER: scheduler}
    seen = {
        part: Heartbeat(timedelta(seconds=age)) for part, age in ages.items() if age is not None
    }

    assert freshness.idle_reason(seen) == reason


def test_what_keeps_a_part_from_its_work_is_the_reason() -> None:
    seen = {
        Part.WORKER: Heartbeat(timedelta()),
        Part.SCHEDULER: Heartbeat(timedelta(), NO_QUEUE),
    }

    assert freshness.idle_reason(seen) == NO_QUEUE


def test_a_failure_explains_what_is_missing_only_while_it_is_newer_than_the_last_quote() -> None:
    failed, now = failure("TIMEOUT"), minute(60)  # of the second minute

    assert freshness.stale_reason(quote(at=1), failed, "idle", now) == failed.message
    assert freshness.stale_reason(None, failed, "idle", now) == failed.message
    assert freshness.stale_reason(quote(at=3), failed, "idle", now) == "idle"


def test_a_fresh_price_needs_no_reason() -> None:
    assert freshness.stale_reason(quote(at=0), failure("TIMEOUT"), "idle", NOON) is None
