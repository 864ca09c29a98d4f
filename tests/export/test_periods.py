"""The periods that files are of."""

from datetime import UTC, datetime, timedelta

import pytest

from quotes.export.periods import Period


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2026-11-24", at(2026, 11, 24), at(2026, 11, 25)),
        ("2026-12-31", at(2026, 12, 31), at(2027, 1, 1)),
        ("2026-11", at(2026, 11, 1), at(2026, 12, 1)),
        ("2026-12", at(2026, 12, 1), at(2027, 1, 1)),
        ("2024-02", at(2024, 2, 1), at(2024, 3, 1)),
        ("2026", at(2026, 1, 1), at(2027, 1, 1)),
    ],
)
def test_a_period_begins_and_ends_in_utc(text: str, since: datetime, until: datetime) -> None:
    period = Period.parse(text)

    assert (period.text, period.since, period.until) == (text, since, until)


@pytest.mark.parametrize(
    "text",
    ["", "26", "2026-1", "2026-13", "2026-02-29", "2026-11-24T00", "0000", "1969", "9999", "२०२६"],
)
def test_what_is_no_period_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write the UTC day, month or year, as 2026-11-24"):
        Period.parse(text)


def test_the_days_of_a_period_meet_and_reach_no_further_than_it() -> None:
    days = [*Period.parse("2026-11").days(at(2026, 10, 3), at(2027, 1, 1))]

    assert [day.text for day in days] == [f"2026-11-{day:02}" for day in range(1, 31)]
    assert all(day.until - day.since == timedelta(days=1) for day in days)


def test_only_the_days_from_the_first_moment_to_the_last_are_read() -> None:
    days = [*Period.parse("2026").days(at(2026, 2, 27, 23, 59), at(2026, 3, 1))]

    assert [day.text for day in days] == ["2026-02-27", "2026-02-28", "2026-03-01"]


def test_a_period_is_closed_once_it_is_over() -> None:
    day = Period.parse("2026-11-24")

    assert not day.closed(at(2026, 11, 24, 23, 59, 59))
    assert day.closed(at(2026, 11, 25))
