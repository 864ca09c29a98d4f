"""What the client selects, reads and raises is what the schema and the documents have."""

import pkgutil
import re
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from graphql import GraphQLEnumType, GraphQLObjectType, build_schema, parse, validate
from paths import ROOT

import quotes.client
from quotes.api.errors import Code
from quotes.client import errors, rows, subscription, wire
from quotes.client.frames import Rows
from quotes.market.intervals import INTERVALS

SCHEMA = build_schema((ROOT / "schema.graphql").read_text())
NAMES = {Decimal: "String", datetime: "DateTime", int: "Int", float: "Float", bool: "Boolean"}
TEXTS = {"String", "Ticker", "Origin", "FailureCause"}  # which are read as they are
PASSING = {1012, 1013, 4408}  # close codes after which the client connects again


def documents() -> list[str]:
    modules = [
        import_module(f"quotes.client.{each.name}")
        for each in pkgutil.iter_modules(quotes.client.__path__)
    ]
    values = [value for module in modules for value in vars(module).values()]
    return [
        each for each in values if isinstance(each, str) and re.match(r"(query|subsc|\{ )", each)
    ]


def test_each_document_is_valid() -> None:
    found = documents()

    assert len(found) >= 12
    for each in found:
        assert validate(SCHEMA, parse(each)) == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (rows.Quote, "Quote"),
        (rows.LatestQuote, "Quote"),
        (rows.Candle, "Candle"),
        (rows.Gap, "Gap"),
        (rows.Gaps, "Gaps"),
        (rows.TickerInfo, "TickerInfo"),
    ],
)
def test_each_row_has_the_types_of_the_schema(kind: type[Any], name: str) -> None:
    described = SCHEMA.type_map[name]
    assert isinstance(described, GraphQLObjectType)

    for field in fields(kind):
        there = str(described.fields[wire.wire_name(field.name)].type)
        assert there in expected(get_type_hints(kind)[field.name]), field.name


def expected(hint: Any) -> set[str]:
    """The schema's types that a field of this type is right for."""
    if NoneType in get_args(hint):
        (some,) = set(get_args(hint)) - {NoneType}
        return {each.removesuffix("!") for each in expected(some)}
    if get_origin(hint) is Rows:
        return {f"[{get_args(hint)[0].__name__}!]!"}
    return {f"{NAMES[hint]}!"} if hint in NAMES else {f"{each}!" for each in TEXTS}


def test_each_choice_is_one_of_the_service_s() -> None:
    for name, chosen in (("Origin", rows.Origin), ("Fill", rows.Fill)):
        described = SCHEMA.type_map[name]
        assert isinstance(described, GraphQLEnumType)
        assert set(get_args(chosen)) == set(described.values)
    assert set(get_args(rows.Interval)) == set(INTERVALS)


def test_each_code_has_an_exception() -> None:
    assert set(errors.CODES) == {code.value for code in Code}


def test_each_close_code_of_the_documents_is_met() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    documented = {int(each) for each in re.findall(r"^\| (\d{4}) \|", page, re.MULTILINE)}

    assert documented == subscription.REFUSALS | {subscription.FORBIDDEN} | PASSING
