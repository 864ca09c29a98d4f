"""What an operation may cost."""

import pytest
from graphql import parse

from quotes.api import cost
from quotes.api.schema import schema


def cost_of(query: str, **variables: object) -> int:
    return cost.of(parse(query), None, variables)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ('{ latestPrice(ticker: "BTC") { price at } }', 3),
        ('{ prices(ticker: "BTC", first: 10) { nodes { price at } } }', 31),
        ('{ prices(ticker: "BTC", last: 10) { nodes { price at } } }', 31),
        ('{ prices(ticker: "BTC") { nodes { at } } }', 2_881),
        ('query ($n: Int) { prices(ticker: "BTC", first: $n) { nodes { at } } }', 41),
        (
            (
                '{ ...a ...a } fragment a on Query { b: prices(ticker: "BTC", first: 1) { ...c } } '
                "fragment c on QuoteConnection { nodes { ... on Quote { at } } }"
            ),
            6,
        ),
    ],
)
def test_the_fields_of_an_answer_are_counted_before_it_is_made(query: str, fields: int) -> None:
    assert cost_of(query, n=20) == fields


def test_fragments_that_spread_one_another_are_counted_once_each() -> None:
    levels = 40  # spread out, 2 ** 40 fields
    query = "{ ...f0 }" + "".join(
        f" fragment f{level} on Query {{ ...f{level + 1} ...f{level + 1} }}"
        for level in range(levels)
    )

    assert cost_of(f"{query} fragment f{levels} on Query {{ __typename }}") == 2**levels


async def test_what_costs_too_much_is_refused_and_the_largest_page_is_not() -> None:
    page = 'prices(ticker: "BTC", first: 10000) { edges { cursor node { %s } } }'
    fields = "ticker price at timestamp observedAt source origin cursor ageSeconds stale"
    largest = "{ " + page % fields + " }"
    twice = "{ a: " + page % fields + " b: " + page % fields + " }"

    assert cost_of(largest) <= cost.MAX_COST
    refused = await schema.execute(twice)

    assert refused.errors is not None
    assert refused.errors[0].extensions == {"code": "BAD_INPUT"}
    assert "first" in refused.errors[0].message
