"""What QUOTES_TICKERS selects of what the exchange lists."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.market import selection, tickers
from quotes.market.selection import Selection

LISTED = frozenset(
    ("btc_usd", "btc_usdc", "eth_usd", "eth_usdc", "1000shib_usdc", "drbfix-btc_usdc", "eth_btc")
)
NAMES = st.from_regex(r"[a-z0-9]{1,6}(-[a-z0-9]{1,6})?_[a-z0-9]{1,6}", fullmatch=True)
PATTERNS = st.from_regex(r"[ab*]{1,5}(-[ab*]{1,3})?(_[ab*]{1,4})?", fullmatch=True).filter(
    lambda text: "*" in text
)
SHORT = st.from_regex(r"[ab]{1,5}(-[ab]{1,3})?_[ab]{1,4}", fullmatch=True)


def selected(words: str) -> tuple[str, ...]:
    return Selection.of(map(selection.word, words.split(","))).tickers(LISTED)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("BTC,eth_usd,nosuch_usd", ("btc_usd", "eth_usd", "nosuch_usd")),
        ("*_usd", ("btc_usd", "eth_usd")),
        ("*_USD, *_usdc", tuple(sorted(LISTED - {"eth_btc"}))),
        ("eth_usd,*_usd", ("eth_usd", "btc_usd")),
        ("btc*", ("btc_usd", "btc_usdc")),
        ("drbfix-*", ("drbfix-btc_usdc",)),
        ("*btc", ("eth_btc",)),
        ("btc,1000*", ("btc_usd", "1000shib_usdc")),
        ("*_usde", ()),
        ("all", tuple(sorted(LISTED))),
        ("*", tuple(sorted(LISTED))),
    ],
)
def test_names_select_themselves_and_patterns_what_is_listed(
    words: str, expected: tuple[str, ...]
) -> None:
    assert selected(words) == expected


@pytest.mark.parametrize(
    "text", ["*__usd", "a_b_*", "btc_usd?*", "[ab]*", "*_usd-x", "btc.*", "* usd", "*" * 33, "*/"]
)
def test_a_pattern_that_can_match_no_ticker_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="matches no ticker; write a pattern as"):
        selection.word(text)


def test_patterns_that_match_nothing_are_told() -> None:
    chosen = Selection.of(["btc_usd", "*_usd", "*_eurr", "doge*"])

    assert chosen.unmatched(LISTED) == ["*_eurr", "doge*"]
    assert chosen.unmatched(()) == ["*_usd", "*_eurr", "doge*"]


@given(NAMES)
def test_a_ticker_is_a_word_that_selects_itself(name: str) -> None:
    assert selection.word(name) == tickers.parse(name) == name
    assert Selection.of([name]).tickers(()) == (name,)


@given(PATTERNS, SHORT)
def test_an_asterisk_is_any_part_of_a_name(pattern: str, name: str) -> None:
    expected = re.fullmatch(pattern.replace("*", ".*"), name) is not None

    assert Selection.of([selection.word(pattern)]).matches(name) is expected
