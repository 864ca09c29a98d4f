from datetime import UTC, datetime

import pytest
from rows import NOON

from quotes.database.log import retention


@pytest.mark.parametrize(
    ("months", "first"), [(1, (2025, 12)), (12, (2025, 1)), (13, (2024, 12)), (25, (2023, 12))]
)
def test_whole_months_are_kept(months: int, first: tuple[int, int]) -> None:
    assert retention.first_kept(NOON, months) == datetime(*first, 1, tzinfo=UTC)
