"""Generated queries: of every field, in every way that a document can be written."""

import json
from dataclasses import dataclass, field
from typing import cast

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    Undefined,
    get_named_type,
)
from hypothesis import strategies as st

from quotes.api.schema import schema

QUERY = cast("GraphQLObjectType", schema._schema.query_type)
# Right values of each type of argument, and wrong ones.
VALUES: dict[str, tuple[list[object], list[object]]] = {
    "Ticker": (["btc_usd", "BTC", " btc ", "eth", "old_usd", "none_usd"], ["nosuch_usd", "a b", 7]),
    "DateTime": (
        ["2026-01-31T12:03:00Z", "2026-01-31T13:00:00Z", "2026-01-31T14:30:00+02:00"],
        ["2026-01-31", 5, "2027-01-01T00:00:00Z"],
    ),
    "Date": (["2026-01-31", "2026-02-01"], ["31 January"]),
    "Int": ([4, 5, 50, 10_000], [0, -1, 10_001, 2.0, "3"]),
    "String": (["p1769860800", "p1769861100"], ["s3", ""]),
    "Duration": (["5m", "1h", "10w"], ["1s", "x"]),
    "Percent": (["0.5%", "9999%"], ["0%", "0.5", 1]),
    "Interval": (["1m", "5m", "1h", "1d"], ["7m"]),
    "TimeZone": (["UTC", "Europe/Berlin"], ["Nowhere"]),
    "Fill": (["NONE", "NULL", "PREVIOUS"], ["SOME"]),
    "Direction": (["BEFORE", "AFTER", "NEAREST"], ["ASIDE"]),
}


@dataclass
class Document:
    """A query as it grows."""

    draw: st.DrawFn
    variables: dict[str, object] = field(default_factory=dict)
    declared: list[str] = field(default_factory=list)
    fragments: list[str] = field(default_factory=list)

    def one_in(self, number: int) -> bool:
        return self.draw(st.integers(1, number)) == number

    def variable(self, kind: str, default: str = "") -> str:
        name = f"$v{len(self.declared)}"
        self.declared.append(f"{name}: {kind}{default}")
        return name

    def root(self, name: str, place: int) -> str:
        alias = "" if self.one_in(2) else f"r{place}: "
        if name == "__typename":
            return f"{alias}{name} {self.directive()}"
        definition = QUERY.fields[name]
        arguments = [
            f"{each}: {self.argument(argument)}"
            for each, argument in definition.args.items()
            if _required(argument) or self.one_in(4)
        ]
        listed = f"({', '.join(arguments)})" if arguments else ""
        text = f"{alias}{name}{listed} {self.directive()} {self.inner(definition)}"
        if self.one_in(6):  # the same field again, with other fields of its own
            text += f" {alias}{name}{listed} {self.inner(definition)}"
        return self.wrapped(QUERY, text)

    def wrapped(self, kind: GraphQLObjectType, text: str) -> str:
        """Some of a selection's fields, maybe in a fragment."""
        match self.draw(st.integers(0, 9)):
            case 0:
                return f"... {self.directive()} {{ {text} }}"
            case 1:
                return f"... on {kind.name} {self.directive()} {{ {text} }}"
            case 2:
                name = f"f{len(self.fragments)}"
                self.fragments.append(f"fragment {name} on {kind.name} {{ {text} }}")
                return f"...{name} {self.directive()} __typename ...{name}"
        return text

    def argument(self, argument: GraphQLArgument) -> str:
        named = get_named_type(argument.type)
        right, wrong = VALUES[named.name]
        value = self.draw(st.sampled_from(wrong if self.one_in(16) else right))
        if "[" in str(argument.type):
            value = [value] * self.draw(st.integers(0, 2))
        enum = isinstance(named, GraphQLEnumType)
        literal = str(value) if enum else json.dumps(value)
        optional = str(argument.type).removesuffix("!")
        match self.draw(st.sampled_from(["literal", "variable", "default", "nothing"])):
            case "variable":
                name = self.variable(str(argument.type))
                self.variables[name[1:]] = value
                return name
            case "default":
                return self.variable(optional, f" = {literal}")
            case "nothing" if not _required(argument):
                name = self.variable(optional)
                if self.one_in(2) and not isinstance(argument.type, GraphQLNonNull):
                    self.variables[name[1:]] = None
                return name
        return literal

    def directive(self) -> str:
        match self.draw(st.integers(0, 24)):
            case 0:
                return "@include(if: true)"
            case 1:
                return "@skip(if: true)"
            case 2:
                name = self.variable("Boolean!")
                self.variables[name[1:]] = self.draw(st.booleans())
                return f"@{self.draw(st.sampled_from(['skip', 'include']))}(if: {name})"
            case 3:
                return f"@skip(if: {self.variable('Boolean!', ' = false')})"
        return ""

    def inner(self, definition: GraphQLField) -> str:
        """What is selected of a field: nothing of a leaf."""
        kind = get_named_type(definition.type)
        if not isinstance(kind, GraphQLObjectType):
            return ""
        return self.selection(kind)

    def selection(self, kind: GraphQLObjectType) -> str:
        chosen = self.draw(
            st.lists(st.sampled_from([*kind.fields, "__typename"]), min_size=1, max_size=4)
        )
        return f"{{ {' '.join(self.part(kind, each) for each in chosen)} }}"

    def part(self, kind: GraphQLObjectType, name: str) -> str:
        alias = f"a{name}: " if self.one_in(3) else ""
        shown = "" if name == "__typename" else self.inner(kind.fields[name])
        return self.wrapped(kind, f"{alias}{name} {self.directive()} {shown}")


# Calls of each root field, for all that it has.
CALLS = (
    'prices(ticker: "BTC", first: 5)',
    'prices(ticker: "BTC", last: 5)',
    'prices(ticker: "old_usd")',
    'prices(ticker: "none_usd")',
    'latestPrice(ticker: "BTC")',
    'latestPrice(ticker: "old_usd")',
    'latestPrice(ticker: "eth", maxAge: "5s")',
    'latestPrice(ticker: "eth", maxAge: "5m")',
    'latestPrice(ticker: "BTC", maxSpread: "1%")',
    "latestPrices",
    'constituents(ticker: "BTC")',
    'constituents(ticker: "none_usd")',
    'candles(ticker: "BTC", interval: "1h")',
    'candles(ticker: "eth", interval: "1h")',
    'candles(ticker: "BTC", interval: "1d", timeZone: "Europe/Berlin", fill: PREVIOUS)',
    'series(ticker: "BTC", maxPoints: 10)',
    'priceAt(ticker: "BTC", at: "2026-01-31T12:03:30Z")',
    'change(ticker: "BTC", window: "1h")',
    'gaps(ticker: "BTC")',
    "tickers",
)


def whole(call: str) -> str:
    """A query for all fields of a call's answer."""
    return f"{{ {call} {_all(QUERY.fields[call.partition('(')[0]])} }}"


def _all(definition: GraphQLField) -> str:
    kind = get_named_type(definition.type)
    if not isinstance(kind, GraphQLObjectType):
        return ""
    fields = (f"{name} {_all(field)}" for name, field in kind.fields.items())
    return f"{{ __typename {' '.join(fields)} }}"


def _required(argument: GraphQLArgument) -> bool:
    return isinstance(argument.type, GraphQLNonNull) and argument.default_value is Undefined


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A query, mostly a right one, and its variables."""
    document = Document(draw)
    names = st.sampled_from([*QUERY.fields, "__typename"])
    roots = draw(st.lists(names, min_size=1, max_size=3))
    text = " ".join(document.root(name, place) for place, name in enumerate(roots))
    declared = f"({', '.join(document.declared)})" if document.declared else ""
    return f"query {declared} {{ {text} }} {' '.join(document.fragments)}", document.variables
