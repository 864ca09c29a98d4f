"""How root fields are read: each step gives its field's JSON, and what that rests on."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import orjson
from graphql import GraphQLField

from quotes.api import cursors, freshness, pagination, types
from quotes.api.context import MAX_TICKERS, Context
from quotes.api.execution import NotPlainError, Shape
from quotes.api.history import candles
from quotes.api.plans.scope import ONCE, SCOPES, Scope
from quotes.api.plans.selection import Selection
from quotes.api.schema import schema
from quotes.database import history, json_pages, latest
from quotes.database.models import Quote
from quotes.database.store import Span

Arguments = Mapping[str, Any]
Read = tuple[bytes, Scope]  # a field's JSON
Step = Callable[[Context, Arguments, datetime], Awaitable[Read]]


@dataclass(frozen=True, slots=True)
class Root:
    """A root field as a document selects it."""

    name: str
    field: GraphQLField
    selection: Selection | None
    shape: Callable[[], Shape]  # raises NotPlainError where it has more than attributes

    def of_the_moment(self) -> bool:
        return self.selection is not None and self.selection.of_the_moment()


def step_of(root: Root) -> Step:
    """Raises NotPlainError where only the ordinary execution can read the field so."""
    make = _STEPS.get(root.name, _resolver)
    return make(root)


def _dumped(shape: Shape, value: object) -> bytes:
    return orjson.dumps(shape(value))


def _resolver(root: Root) -> Step:
    """By the field's own resolver, whose result is written without a look at each of its fields."""
    definition = root.field.extensions["strawberry-definition"]
    resolver = definition.base_resolver.wrapped_func
    name_of = schema.config.name_converter.from_argument
    names = {name_of(each): each.python_name for each in definition.arguments}
    shape = root.shape()
    scope_of = SCOPES.get(root.name, _once)
    if root.of_the_moment():
        scope_of = _once

    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        info = SimpleNamespace(context=context)
        values = {names[name]: value for name, value in arguments.items()}
        try:
            value = await resolver(None, info, **values)
        except Exception as error:
            raise NotPlainError from error  # whatever it is, the ordinary execution meets it, too
        return _dumped(shape, value), scope_of(arguments, now)

    return read


def _once(arguments: Arguments, now: datetime) -> Scope:
    return ONCE


def _latest_price(root: Root) -> Step:
    shape = root.shape()
    lasting = not root.of_the_moment()

    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        ticker, max_age = arguments["ticker"], arguments.get("maxAge")
        newest = await _newest(context, [ticker])
        quote = types.Quote.of(newest[ticker], now) if ticker in newest else None
        if max_age is not None:
            freshness.require(ticker, quote, (), max_age)
        scope = Scope(frozenset([ticker])) if lasting and max_age is None else ONCE
        return _dumped(shape, quote), scope

    return read


def _latest_prices(root: Root) -> Step:
    shape = root.shape()
    lasting = not root.of_the_moment()

    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        tickers = arguments.get("tickers")
        newest = await _newest(context, tickers)
        names = sorted(newest.keys() if tickers is None else newest.keys() & set(tickers))
        scope = Scope(None if tickers is None else frozenset(tickers)) if lasting else ONCE
        return _dumped(shape, [types.Quote.of(newest[name], now) for name in names]), scope

    return read


async def _newest(context: Context, tickers: list[str] | None) -> Mapping[str, Quote]:
    """Of these tickers, or of all; from memory or, where that is not current, from the database.

    Raises NotPlainError where a ticker is to be refused, and for all tickers without the memory.
    """
    newest = await context.newest.quotes()
    if len(tickers or ()) > MAX_TICKERS:
        raise NotPlainError
    if newest is None:
        if tickers is None:
            raise NotPlainError
        newest = await latest.newest(context.queries, tickers)
    known = context.settings.tickers
    if not all(ticker in newest or ticker in known for ticker in tickers or ()):
        raise NotPlainError
    return newest


def _prices(root: Root) -> Step:
    """Rows as the database writes them."""
    assert root.selection is not None
    if root.selection.of_the_moment():
        raise NotPlainError
    rows: list[json_pages.Row] = []
    parts = [(each.key, _part(each.name, each.inner, rows)) for each in root.selection]

    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        ticker = arguments["ticker"]
        range_ = pagination.span(ticker, *map(arguments.get, ("date", "from", "to")))
        page = pagination.page(range_, *map(arguments.get, ("first", "after", "last", "before")))
        found = await json_pages.page(
            context.queries, page.span, rows, limit=page.size, newest_first=page.from_the_end
        )
        if not found.count:
            await _newest(context, [ticker])
        written = [f"{_name(key)}:{await part(context, page, found)}" for key, part in parts]
        scope = Scope(frozenset([ticker]), page.range.since, page.range.until)
        return f"{{{','.join(written)}}}".encode(), scope

    return read


def _candles(root: Root) -> Step:
    """As the database writes them; by the resolver where some are made up."""
    assert root.selection is not None
    row = tuple(_row(root.selection, json_pages.CANDLE_COLUMNS))
    filled = _resolver(root)

    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        if arguments.get("fill") not in {None, candles.Fill.NONE}:
            return await filled(context, arguments, now)
        ticker, text = arguments["ticker"], ""
        asked = pagination.span(ticker, None, arguments.get("from"), arguments.get("to"))
        zone = candles.clocks(arguments.get("timeZone"))
        bounds = candles.bounds(arguments["interval"], zone, asked.since, asked.until, now)
        if bounds:
            async with context.sessions() as session:
                text = await history.candles_json(session, ticker, bounds, row, now)
        if not text:
            await _newest(context, [ticker])
        return f"[{text}]".encode(), SCOPES["candles"](arguments, now)

    return read


Part = Callable[[Context, pagination.Page, json_pages.Page], Awaitable[str]]


def _part(name: str, selected: Selection | None, rows: list[json_pages.Row]) -> Part:
    if selected is None:
        return _typename
    if name == "pageInfo":
        return partial(_page_info, selected)
    rows.append(tuple(_row(selected, json_pages.COLUMNS)))
    return partial(_list, len(rows) - 1)


async def _typename(context: Context, page: pagination.Page, found: json_pages.Page) -> str:
    return f'"{types.QuoteConnection.__name__}"'


async def _list(place: int, context: Context, page: pagination.Page, found: json_pages.Page) -> str:
    return f"[{found.rows[place]}]"


async def _page_info(
    selected: Selection, context: Context, page: pagination.Page, found: json_pages.Page
) -> str:
    shown: dict[str, object] = {}
    for each in selected:
        match each.name:
            case "startCursor":
                shown[each.key] = None if found.first is None else cursors.page(found.first)
            case "endCursor":
                shown[each.key] = None if found.last is None else cursors.page(found.last)
            case "hasPreviousPage":
                shown[each.key] = await _any(context, pagination.preceding(page, found.first))
            case "hasNextPage":
                shown[each.key] = await _any(context, pagination.following(page, found.last))
            case _:
                shown[each.key] = selected.type_name
    return orjson.dumps(shown).decode()


async def _any(context: Context, span: Span | None) -> bool:
    return span is not None and await json_pages.exists(context.queries, span)


def _row(
    selected: Selection, columns: Mapping[str, json_pages.Column]
) -> list[str | json_pages.Column]:
    """The JSON of an object whose fields are columns. Raises NotPlainError for other fields."""
    pieces: list[str | json_pages.Column] = ["{"]
    for each in selected:
        pieces.append(f"{',' if len(pieces) > 1 else ''}{_name(each.key)}:")
        if each.inner is not None:
            pieces += _row(each.inner, columns)
        elif each.name == "__typename":
            pieces.append(f'"{selected.type_name}"')
        elif selected.type_name == types.QuoteEdge.__name__:
            pieces.append(json_pages.COLUMNS["pageCursor"])
        elif each.name in columns:
            pieces.append(columns[each.name])
        else:
            raise NotPlainError
    return [*pieces, "}"]


def _name(key: str) -> str:
    return f'"{key}"'  # a GraphQL name has nothing to escape


_STEPS: dict[str, Callable[[Root], Step]] = {
    "candles": _candles,
    "latestPrice": _latest_price,
    "latestPrices": _latest_prices,
    "prices": _prices,
}
