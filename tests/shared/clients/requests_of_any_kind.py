"""Operations that a client might send: every root field, its arguments right, wrong and extreme."""

import json
from dataclasses import dataclass
from typing import Any, cast

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_object_type,
)
from hypothesis import strategies as st

from quotes.api.schema import schema
from quotes.database.log import fingerprints

core = schema._schema
QUERY = cast("GraphQLObjectType", core.query_type)
SUBSCRIPTION = cast("GraphQLObjectType", core.subscription_type)


@dataclass(frozen=True)
class Sent:
    """One request."""

    query: str
    variables: dict[str, Any]


@dataclass(frozen=True)
class Name:
    """An enum's value, or another bare word."""

    word: str


PRINT = "0" * fingerprints.LENGTH  # of no quote
WORDS = [
    *("BTC", "btc_usd", "eth_usd", "nosuch_usd", "drbfix-btc_usdc", "btc_", "BTC/USD", ""),
    *("\0", "b\0tc", "\ud800", "\U0001f4b0", "x" * 10_000, "9" * 10_000, "{" * 200, '"\\'),
    *("NaN", "Infinity", "-1", "1e999", "null", "true"),
    *("0001-01-01", "1969-12-31", "2026-01-31", "9999-12-31", "2026-02-30", "10000-01-01"),
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z"),
    *("9999-12-31T23:59:59-14:00", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00", "noon"),
    *("1m", "15m", "1h", "1d", "1w", "1mo", "1M", "1s", "0s", "3650d", "3651d", "999999999w"),
    *("UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Kiritimati", "Europe", "../x", "zone.tab"),
    *(
        "s0",
        f"s1-{PRINT}",
        f"s{2**63 - 1}-{PRINT}",
        f"s{2**63}-{PRINT}",
        f"s0-{PRINT}",
        "s-1",
        "s²",
    ),
    *("p0", "p1769860860", "p253402214400", "p253402214401", "p" + "9" * 15, "p99999999999999999"),
    *("BEFORE", "NEAREST", "NONE", "NULL", "PREVIOUS"),
]
NUMBERS = [
    *(0, 1, -1, 3, 4, 1_000, 5_000, 5_001, 10_000, 10_001, 3_600, 3_601),
    *(2**31 - 1, 2**31, -(2**31) - 1, 2**63, 10**400, 10**4_000),
    *(0.0, -0.0, 0.5, 4.0, 10_000.0, 1e308),
]
NAMES = [
    Name(word)
    for word in ("BEFORE", "AFTER", "NEAREST", "NONE", "NULL", "PREVIOUS", "btc", "9" * 5_000)
]

plain = st.sampled_from([None, True, False, *WORDS, *NUMBERS])
in_json = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=3,
)
in_document = st.recursive(
    plain | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=3,
)

# What a valid request of each type would hold, so that the resolvers are reached often enough.
FITTING: dict[str, list[Any]] = {
    "Ticker": ["BTC", "btc_usd", "eth_usd", "nosuch_usd"],
    "DateTime": [word for word in WORDS if word[4:5] == "-" and "T" in word],
    "Date": ["0001-01-01", "1969-12-31", "2026-01-31", "9999-12-31"],
    "Interval": ["1m", "1h", "1d", "1w", "1mo"],
    "TimeZone": ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Kiritimati"],
    "Duration": ["1s", "15m", "3650d"],
    "Percent": ["0.0001%", "0.5%", "9999%"],
    "Int": [each for each in NUMBERS if isinstance(each, int) and abs(each) < 2**31],
    "String": [word for word in WORDS if word[:1] in {"s", "p"}],
    "Direction": [Name("BEFORE"), Name("AFTER"), Name("NEAREST")],
    "Fill": [Name("NONE"), Name("NULL"), Name("PREVIOUS")],
}


def literal(value: Any) -> str:
    """As GraphQL writes it."""
    match value:
        case None | bool():
            return json.dumps(value)
        case Name():
            return value.word
        case str():
            return '"' + "".join(map(_escaped, value)) + '"'
        case list():
            return f"[{', '.join(map(literal, value))}]"
        case dict():
            return f"{{{', '.join(f'{name}: {literal(each)}' for name, each in value.items())}}}"
    return repr(value)


def _escaped(letter: str) -> str:
    return letter if letter.isalnum() and letter.isascii() else f"\\u{ord(letter) & 0xFFFF:04x}"


def json_of(value: Any) -> Any:
    """What stands for it among the variables."""
    if isinstance(value, Name):
        return value.word
    if isinstance(value, list):
        return [json_of(each) for each in value]
    return value


def selection(kind: Any) -> str:
    """Everything that can be selected of a type, as far as it requires no arguments."""
    named = get_named_type(kind)
    if not is_object_type(named):
        return ""
    return f"{{ {' '.join(name + selection(each.type) for name, each in named.fields.items())} }}"


@st.composite
def sent(draw: st.DrawFn, kind: GraphQLObjectType) -> Sent:
    """A request for one or two of a root type's fields."""
    request = _Request(draw)
    fields = [
        request.field(name, kind.fields[name])
        for name in draw(
            st.lists(st.sampled_from(sorted(kind.fields)), min_size=1, max_size=2, unique=True)
        )[: 1 if kind is SUBSCRIPTION else 2]
    ]
    word = "subscription" if kind is SUBSCRIPTION else "query"
    declared = _in_parentheses(request.declared)
    return Sent(f"{word} {declared} {{ {' '.join(fields)} }}", request.variables)


def _in_parentheses(words: list[str]) -> str:
    return f"({', '.join(words)})" if words else ""


class _Request:
    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.declared: list[str] = []
        self.variables: dict[str, Any] = {}

    def field(self, name: str, field: GraphQLField) -> str:
        given = [
            f"{argument}: {written}"
            for argument, each in field.args.items()
            if (written := self._argument(each)) is not None
        ]
        return f"{name}{_in_parentheses(given)} {selection(field.type)}"

    def _argument(self, argument: GraphQLArgument) -> str | None:
        """As it is written in the document; None if it is left out."""
        draw, required = self._draw, isinstance(argument.type, GraphQLNonNull)
        fitting = draw(st.integers(0, 9)) < 8
        if draw(st.integers(0, 9)) < (0 if required else 4):
            return None
        value = draw(self._fitting(argument) if fitting else in_document)
        if draw(st.booleans()):
            return literal(value)
        return self._variable(argument, value if fitting else draw(in_json))

    def _fitting(self, argument: GraphQLArgument) -> st.SearchStrategy[Any]:
        one = st.sampled_from(FITTING[get_named_type(argument.type).name])
        if "[" in str(argument.type):
            return st.lists(one, max_size=3) | one | st.none()
        return one if str(argument.type).endswith("!") else one | st.none()

    def _variable(self, argument: GraphQLArgument, value: Any) -> str:
        draw = self._draw
        name = f"v{len(self.declared)}"
        exact = str(argument.type)
        kinds = st.sampled_from([exact, exact, exact.removesuffix("!"), "String", "[Int!]"])
        default = draw(st.sampled_from(["", "", " = null", f" = {literal(value)}"]))
        self.declared.append(f"${name}: {draw(kinds)}{default}")
        how = draw(st.sampled_from(["value", "value", "value", "null", "nothing"]))
        if how != "nothing":
            self.variables[name] = json_of(value) if how == "value" else None
        return f"${name}"
