"""What is asked of documents before anything of them is executed."""

import pytest
from graphql import OverlappingFieldsCanBeMergedRule, get_introspection_query, parse, validate
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quotes.api.documents import MAX_DIRECTIVES, MAX_ERRORS, check
from quotes.api.mergeable_fields import MAX_SELECTIONS, MergeableFields
from quotes.api.plans.documents import core

LATEST = ['latestPrice(ticker: "a")', 'latestPrice(ticker: "b")', "latestPrice(ticker: $t)"]
LEAVES = ["price", "at", "x: at", "x: price", "price: at"]


@st.composite
def selections(draw: st.DrawFn) -> str:
    """Documents in which fields of one name often meet."""
    leaves = st.lists(st.sampled_from([*LEAVES, "...q"]), min_size=1, max_size=3).map(" ".join)
    roots = [f"{draw(st.sampled_from(['', 'y: ']))}{draw(st.sampled_from(LATEST))}" for _ in "12"]
    fields = [f"{root} {{ {draw(leaves)} }}" for root in roots]
    shown = draw(st.sampled_from(["{0} {1}", "{0} ... {{ {1} }}", "{0} ...r", "...r {0} ...r"]))
    inner = " ".join(draw(st.lists(st.sampled_from(LEAVES), min_size=1, max_size=2)))
    return (
        f"query ($t: Ticker!) {{ {shown.format(*fields)} ...r z: {LATEST[2]} {{...q}} }}"
        f" fragment q on Quote {{ {inner} }} fragment r on Query {{ {fields[1]} }}"
    )


@example("{ a: tickers { first { at } } a: tickers { first { at: price } } }")
@example("{ latestPrices(tickers: [A, $b]) { at } latestPrices(tickers: [A $b]) { price } }")
@example("{ latestPrices(tickers: [{a: 1}]) { at } latestPrices(tickers: [{a: 2}]) { at } }")
@example("{ latestPrice(ticker: A, maxAge: B) { at } latestPrice(maxAge: B, ticker: A) { at } }")
@given(selections())
@settings(deadline=None)
def test_fields_merge_as_graphql_core_has_it(query: str) -> None:
    document = parse(query)

    refused = [
        bool(validate(core, document, [rule]))
        for rule in (MergeableFields, OverlappingFieldsCanBeMergedRule)
    ]

    assert refused[0] == refused[1]


@pytest.mark.parametrize(
    "query",
    [
        "fragment f on __Type { a: ofType{...f} b: ofType{...f} } { __schema { types {...f} } }",
        "".join(
            f"fragment f{level} on __Type {{ a: ofType {{ ...f{level + 1} }}"
            f" b: ofType {{ ...f{level + 1} }} }} "
            for level in range(20)
        )
        + "fragment f20 on __Type { name } { __schema { types { ...f0 } } }",
        " ".join(f"query q{number} {{ ...f }}" for number in range(90))
        + f" fragment f on Query {{ {'__typename ' * 20} }}",
    ],
)
def test_fragments_are_not_spread_without_end(query: str) -> None:
    (error,) = validate(core, parse(query), [MergeableFields])

    assert f"more than {MAX_SELECTIONS:,} fields" in error.message


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{ __typename }" + "#" * 33_000, "at most 32,768 characters"),
        ("{ a" + " @skip(if: true)" * 51 + " }", f"at most {MAX_DIRECTIVES} directives"),
        ("{" + " __typename" * 1_000 + "}", "more than 1000 tokens"),
        ("{a" * 400, "deep"),
    ],
)
def test_a_document_beyond_the_limits_is_refused(query: str, message: str) -> None:
    found = check(core, query)

    assert found.parsed is None
    assert message in found.errors[0].message


def test_only_the_first_few_errors_are_listed() -> None:
    *errors, last = check(core, f"{{ {' '.join(f'x{place}' for place in range(300))} }}").errors

    assert len(errors) == MAX_ERRORS
    assert "limit reached" in last.message


def test_the_explorer_s_introspection_is_valid() -> None:
    assert check(core, get_introspection_query()).valid
