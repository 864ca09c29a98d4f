"""How far the exchanges of an index are apart."""

from datetime import timedelta
from decimal import Decimal

import pytest
from compositions import apart, constituent, spreads
from hypothesis import given
from hypothesis import strategies as st
from rows import NOON, minute

from quotes.market.constituents import Spread, newest, spread, wider

SECOND = timedelta(seconds=1)
HALF_PAST = NOON + 30 * SECOND
PRICES = st.decimals("1e-9", "1e9", allow_nan=False, allow_infinity=False, places=12)


@given(st.lists(PRICES.filter(bool), min_size=2, max_size=12))
def test_the_spread_is_exactly_the_highest_less_the_lowest(prices: list[Decimal]) -> None:
    found = apart(*map(str, prices))

    assert found is not None
    assert min(prices) + found.absolute == max(prices)
    assert min(prices) <= found.median <= max(prices)
    assert found.exchanges == len(prices)


@pytest.mark.parametrize("number", range(2, 13))
def test_one_at_ten_times_the_price_shows_however_many_agree(number: int) -> None:
    found = apart("1000000.1", *["100000.01"] * (number - 1))

    assert found is not None
    assert found.percent > 160
    assert (found.percent == 900) is (number > 2)


def test_one_that_is_not_used_has_no_part_in_it() -> None:
    used = [constituent("a", "10"), constituent("b", "11")]
    found = spread([*used, constituent("c", "100", used=False), constituent("d", None, used=False)])

    assert found == Spread(Decimal(1), Decimal("10.5"), 2)


@pytest.mark.parametrize("prices", [(), ("5",), ("5", None), ("5", "5", None)])
def test_what_cannot_be_compared_has_no_spread(prices: tuple[str | None, ...]) -> None:
    assert apart(*prices) is None


def test_the_newest_price_is_of_those_in_use() -> None:
    made_of = [
        constituent("a", "1", minute(1)),
        constituent("b", "1", minute(2)),
        constituent("c", "1"),
        constituent("d", "1", minute(3), used=False),
    ]

    assert newest(made_of) == minute(2)
    assert newest(made_of[2:]) is None


def test_since_a_minute_the_widest_counts() -> None:
    wide, wider_still, narrow = apart("100", "1000"), apart("100", "2000"), apart("100", "101")

    assert spreads(HALF_PAST, narrow, {NOON: wide}).since(NOON) == wide
    assert spreads(HALF_PAST, wider_still, {NOON: wide}).since(NOON) == wider_still


def test_what_was_not_known_in_a_minute_stays_unknown_for_it() -> None:
    for since in ({NOON: None}, {}, {minute(-1): apart("1", "1")}):
        assert spreads(HALF_PAST, apart("1", "1"), since).since(NOON) is None


def test_what_is_not_known_now_is_not_known_since_then() -> None:
    assert spreads(HALF_PAST, None, {NOON: apart("1", "1")}).since(NOON) is None


def test_a_minute_that_has_just_begun_has_what_came_just_before_it() -> None:
    def told(before: timedelta) -> Spread | None:
        at = minute(1) - before
        return spreads(at, apart("1", "2"), {NOON: apart("1", "9")}).since(minute(1))

    assert told(10 * SECOND) == apart("1", "2")
    assert told(11 * SECOND) is None


def test_of_two_spreads_the_wider_is_in_relation_to_its_prices() -> None:
    narrow, wide = apart("100", "101"), apart("1", "1.5")

    assert wider(narrow, wide) == wider(wide, narrow) == wide
    assert wider(narrow, None) == narrow
    assert wider(None, narrow) is None
