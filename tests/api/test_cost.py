"""What an operation may cost."""

from datetime import UTC, datetime
from typing import Any

import pytest
from graphql import get_introspection_query

from quotes.api.errors import RefusedError
from quotes.api.plans import queries
from quotes.api.schema import schema
from quotes.settings import MAX_COST

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
QUOTE = "ticker price at timestamp observedAt source origin cursor ageSeconds stale"


def points(query: str, **variables: object) -> int:
    """By the plan. Raises RefusedError."""
    plan = queries.plan(query, None, variables, NOW)
    assert plan is not None
    return plan.points


async def refusal(query: str, **variables: object) -> dict[str, Any] | None:
    """Of the ordinary execution: the extensions of what it refuses as a whole."""
    errors = (await schema.execute(query, variables)).errors or []
    return errors[0].extensions if errors and errors[0].path is None else None


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ("prices(ticker: X, first: 10) {nodes{at}}", "prices(ticker: X, last: 500) {nodes{at}}"),
        ("prices(ticker: X, first: 500) {nodes{at}}", "prices(ticker: X) {nodes{at}}"),
        ("prices(ticker: X) {nodes{at}}", "prices(ticker: X) {nodes{at price}}"),
        ("prices(ticker: X) {nodes{at}}", "prices(ticker: X) {a: nodes{at} b: nodes{at}}"),
        ("candles(ticker: X, interval: I) {open}", "candles(ticker: X, interval: I, F) {open}"),
        (
            "candles(ticker: X, interval: I) {open}",
            'candles(ticker: X, interval: I, timeZone: "Asia/Kolkata") {open}',
        ),
        (
            "candles(ticker: X, interval: I) {open}",
            "candles(ticker: X, interval: I, fill: NULL) {open}",
        ),
        ("series(ticker: X, F, maxPoints: 10) {times}", "series(ticker: X, F) {times}"),
        ("series(ticker: X, F) {times}", "series(ticker: X) {times}"),
        ("gaps(ticker: X, F) {missing}", "gaps(ticker: X) {missing}"),
        ("gaps(ticker: X, F) {nodes{from}}", "gaps(ticker: X, F, first: 5000) {nodes{from}}"),
        ("latestPrices(tickers: [X]) {price}", "latestPrices {price}"),
        ("sparklines(points: 2) {times}", "sparklines {times}"),
        ("sparklines(tickers: [X]) {times}", "sparklines {times}"),
        ('sparklines(window: "1w") {times}', 'sparklines(window: "4w") {times}'),
        ("latestPrice(ticker: X) {price}", "change(ticker: X) {absolute latest{price at source}}"),
        ("latestPrices {price}", "tickers {name}"),
        (
            "prices(ticker: X, first: 1) {nodes{at}}",
            "prices(ticker: X, first: 1) {pageInfo{hasNextPage}}",
        ),
    ],
)
def test_what_reads_or_shows_more_costs_more(smaller: str, larger: str) -> None:
    words = {"X": '"BTC"', " I": ' "1h"', "F": 'from: "2025-12-01T00:00:00Z"'}
    for word, text in words.items():
        smaller, larger = smaller.replace(word, text), larger.replace(word, text)

    assert points(f"{{ {smaller} }}") < points(f"{{ {larger} }}")


@pytest.mark.parametrize(
    ("variables", "literal"),
    [
        ({}, "first: 700"),  # the variable's default
        ({"n": 900}, "first: 900"),
        ({"n": 900.0}, "first: 900"),
        ({"n": None}, "first: null"),
    ],
)
def test_variables_cost_what_they_are_executed_with(
    variables: dict[str, object], literal: str
) -> None:
    field = '{ prices(ticker: "BTC", %s) { nodes { price at } } }'

    as_variable = points("query ($n: Int = 700) " + field % "first: $n", **variables)

    assert as_variable == points(field % literal)


def test_what_is_skipped_costs_nothing() -> None:
    query = """query ($no: Boolean = false) {
        latestPrice(ticker: "BTC") { price }
        prices(ticker: "BTC", first: 10000) @include(if: $no) { nodes { price at } } }"""

    assert points(query) == points('{ latestPrice(ticker: "BTC") { price } }')
    assert points(query, no=True) > 20


def test_the_largest_page_with_every_field_is_allowed() -> None:
    page = f'{{ prices(ticker: "BTC", first: 10000) {{ edges {{ cursor node {{ {QUOTE} }} }} }} }}'

    assert points(page) <= MAX_COST
    assert points(get_introspection_query()) <= MAX_COST


MANY = "a: F b: F c: F d: F e: F f: F g: F h: F i: F j: F"
TOO_DEAR = [
    "{ MANY }".replace("MANY", MANY).replace("F", each)
    for each in (
        'candles(ticker: "BTC", interval: "30m", from: "2025-11-01T00:00:00Z") { open close }',
        'gaps(ticker: "BTC") { nodes { from to cause } }',
        'series(ticker: "BTC", maxPoints: 10000) { times prices }',
    )
]


@pytest.mark.parametrize("query", TOO_DEAR)
async def test_what_costs_too_much_is_refused_whatever_executes_it(query: str) -> None:
    refused = await refusal(query)

    assert refused is not None
    assert refused["code"] == "BAD_INPUT"
    assert refused["cost"]["requested"] > refused["cost"]["limit"] == MAX_COST
    with pytest.raises(RefusedError, match="are the most"):
        points(query)


async def test_an_answer_of_too_many_values_is_refused() -> None:
    page = 'prices(ticker: "BTC", first: 10000) { nodes { ticker price at timestamp } }'
    query = MANY.replace("F", page)

    with pytest.raises(RefusedError, match="500,020 values, and 150,000 are the most"):
        points(f"{{ {query} }}")


# Milliseconds of CPU time in all, as bench/cost.py measured, of what costs much in its own way.
MEASURED = {
    "latestPrice(ticker: X) { QUOTE }": 1,
    "change(ticker: X) { latest { QUOTE } base { QUOTE } }": 5,
    "latestPrices { QUOTE }": 17,
    'candles(ticker: X, interval: "1m", from: "2026-01-28T02:10:00Z") { CANDLE }': 43,
    "tickers { name first { QUOTE } last { QUOTE } }": 63,
    "prices(ticker: X, first: 10000) { nodes { QUOTE } }": 108,
    'candles(ticker: X, interval: "1mo", from: "2016-01-01T00:00:00Z") { CANDLE }': 151,
    'candles(ticker: X, interval: "30m", from: "2025-11-04T12:00:00Z") { CANDLE }': 202,
    "series(ticker: X, maxPoints: 10000) { times prices }": 336,
}
CANDLE = "openTime closeTime open high low close count coverage complete filled"


def test_points_are_in_the_order_of_what_was_measured_and_no_less() -> None:
    fields = [
        each.replace("X", '"BTC"').replace("QUOTE", f"{QUOTE} collected").replace("CANDLE", CANDLE)
        for each in MEASURED
    ]
    costs = [points(f"{{ {each} }}") for each in fields]

    assert costs == sorted(costs)
    assert all(cost >= spent for cost, spent in zip(costs, MEASURED.values(), strict=True))


async def test_an_alias_s_length_counts_since_each_row_repeats_it() -> None:
    query = f'{{ prices(ticker: "BTC", first: 10000) {{ nodes {{ {"x" * 3_000}: price }} }} }}'

    assert await refusal(query) is not None


async def test_fragments_that_spread_one_another_cost_what_they_select() -> None:
    levels = 8  # each spreads 80 fields
    query = "{ tickers { ...f0 } }" + "".join(
        f" fragment f{level} on TickerInfo {{ {'last' if level % 2 else 'first'} {{ price }}"
        f" a{level}: last {{ ...g{level} }} b{level}: last {{ ...g{level} }}"
        f" c{level}: last {{ ...g{level} }} ...f{level + 1} }}"
        f" fragment g{level} on Quote {{ {' '.join(f'x{each}: at' for each in range(25))} }}"
        for level in range(levels)
    )

    refused = await refusal(f"{query} fragment f{levels} on TickerInfo {{ name }}")

    assert refused is not None
