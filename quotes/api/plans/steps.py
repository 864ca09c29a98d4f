"""How root fields are read: each step gives its field's JSON, and what that rests on."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import NamedTuple

import orjson

from quotes.api import freshness, pagination, types
from quotes.api.context import Context, known_tickers, require_few, require_known
from quotes.api.execution import resolver_of
from quotes.api.history import candles
from quotes.api.history.gaps import Gaps
from quotes.api.history.series import Series
from quotes.api.history.sparklines import Sparkline
from quotes.api.plans import rows
from quotes.api.plans.operation import Arguments, Root
from quotes.api.plans.scope import FOREVER, ONCE, SCOPES, Scope
from quotes.api.plans.selection import NotPlainError
from quotes.api.plans.shapes import Shape, shape_of
from quotes.api.schema import schema
from quotes.database import constituents
from quotes.database.log import store
from quotes.database.models import Quote
from quotes.database.queries import history, json_pages, latest
from quotes.live.newest import BOUND

# Fields that rest on the log: on quotes, and on what is computed of them with each commit. The
# others are in memory, or also rest on what has no seq to know a replica's state by.
OF_THE_LOG = frozenset({"candles", "change", "gaps", "priceAt", "prices", "series", "sparklines"})
FEW = 100  # objects whose JSON is written in the event loop: a few milliseconds


class Read(NamedTuple):
    """What was read for a field."""

    text: bytes  # JSON
    scope: Scope
    rows: int = 1


Step = Callable[[Context, Arguments, datetime], Awaitable[Read]]


def step_of(root: Root) -> Step:
    """Raises NotPlainError where only the ordinary execution can read the field so."""
    step = _STEPS.get(root.name, _resolver)(root)
    return _from_either(step) if root.name in OF_THE_LOG else step


def _from_either(step: Step) -> Step:
    """From the replica, if there is one that has all that was committed BOUND seconds before."""

    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        replica = context.replica
        if replica is None or not await context.feed.current(BOUND):
            return await step(context, arguments, now)
        there = replace(context, sessions=replica.sessions, queries=replica.queries)
        return await replica.read(
            lambda: step(there, arguments, now), lambda: step(context, arguments, now)
        )

    return read


def _typename(root: Root) -> Step:
    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        return Read(b'"Query"', FOREVER)

    return read


def _shape(root: Root) -> Shape:
    if root.field is None:
        raise NotPlainError
    return shape_of(root.field.type, root.selection)


def _dumped(shape: Shape, value: object) -> bytes:
    return orjson.dumps(shape(value))


async def _written(context: Context, shape: Shape, value: object, rows: int) -> bytes:
    if rows > FEW:
        return await context.thread.run(_dumped, shape, value)
    return _dumped(shape, value)


def _rows(value: object) -> int:
    """Of a resolver's result."""
    match value:
        case list():
            return sum(len(each.times) if isinstance(each, Sparkline) else 1 for each in value)
        case Gaps():
            return len(value.nodes)
        case Series():
            return len(value.times)
    return 1


def _resolver(root: Root) -> Step:
    """By the field's own resolver, whose result is written without graphql-core."""
    shape = _shape(root)
    assert root.field is not None
    resolver, names = resolver_of(schema, root.field)
    scope_of = SCOPES.get(root.name, _once)
    if root.of_the_moment():
        scope_of = _once

    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        info = SimpleNamespace(context=context)
        values = {names[name]: value for name, value in arguments.items()}
        value = await resolver(None, info, **values)
        rows = _rows(value)
        text = await _written(context, shape, value, rows)
        return Read(text, scope_of(arguments, now), rows)

    return read


def _once(arguments: Arguments, now: datetime) -> Scope:
    return ONCE


def _latest_price(root: Root) -> Step:
    shape = _shape(root)
    lasting = not root.of_the_moment()
    shows = _shows_confidence(root)

    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        ticker, max_spread = arguments["ticker"], arguments.get("maxSpread")
        max_age = arguments.get("maxAge")
        newest = await _newest(context, [ticker])
        known = None
        if shows or max_spread is not None:
            known = (await constituents.spreads(context.queries, [ticker])).get(ticker)
        quote = None
        if ticker in newest:
            quote = types.Quote.of(newest[ticker], now, context.collection, known)
        if max_age is not None and not freshness.is_fresh(quote, max_age):
            async with context.sessions() as session:
                failures = await store.last_failures(session, [ticker])
            freshness.require(ticker, quote, failures, max_age)
        if max_spread is not None:
            freshness.require_within(ticker, quote, max_spread)
        lasts = lasting and max_age is None and max_spread is None
        scope = Scope(frozenset([ticker])) if lasts else ONCE
        return Read(_dumped(shape, quote), scope)

    return read


def _latest_prices(root: Root) -> Step:
    shape = _shape(root)
    lasting = not root.of_the_moment()
    shows = _shows_confidence(root)

    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        tickers = arguments.get("tickers")
        newest = await _newest(context, tickers)
        names = sorted(newest.keys() if tickers is None else newest.keys() & set(tickers))
        scope = Scope(None if tickers is None else frozenset(tickers)) if lasting else ONCE
        collection = context.collection
        known = await constituents.spreads(context.queries, names) if shows else {}
        shown = [types.Quote.of(newest[name], now, collection, known.get(name)) for name in names]
        text = await _written(context, shape, shown, len(shown))
        return Read(text, scope, len(shown))

    return read


def _shows_confidence(root: Root) -> bool:
    return root.selection is not None and root.selection.selects("confidence")


async def _newest(context: Context, tickers: list[str] | None) -> Mapping[str, Quote]:
    """Of these tickers, or of all; from memory or, where that is not current, from the database.

    Raises RefusedError where there are too many, or one is unknown.
    """
    require_few(tickers or ())
    newest = await context.newest.quotes()
    if newest is None:
        names = await known_tickers(context) if tickers is None else tickers
        newest = await latest.newest(context.queries, names)
    if not all(ticker in newest for ticker in tickers or ()):
        await require_known(context, set(tickers or ()) - newest.keys())
    return newest


def _prices(root: Root) -> Step:
    """Rows as the database writes them."""
    assert root.selection is not None
    lasting = not root.of_the_moment()
    columns: list[json_pages.Row] = []
    parts = [(each.key, rows.part(each.name, each.inner, columns)) for each in root.selection]

    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        ticker = arguments["ticker"]
        range_ = pagination.span(ticker, *map(arguments.get, ("date", "from", "to")))
        page = pagination.page(range_, *map(arguments.get, ("first", "after", "last", "before")))
        await pagination.require_kept_page(context, page)
        wanted = json_pages.Wanted(page.span, page.size, newest_first=page.from_the_end)
        found = await json_pages.page(context.queries, wanted, columns, now, context.collection)
        if not found.count:
            await _newest(context, [ticker])
        written = [
            f"{rows.json_name(key)}:{await part(context, page, found)}" for key, part in parts
        ]
        scope = Scope(frozenset([ticker]), range_.since, range_.until) if lasting else ONCE
        return Read(f"{{{','.join(written)}}}".encode(), scope, found.count)

    return read


def _candles(root: Root) -> Step:
    """As the database writes them; by the resolver where some are made up."""
    assert root.selection is not None
    row = tuple(rows.row_of(root.selection, json_pages.CANDLE_COLUMNS))
    filled = _resolver(root)

    async def read(context: Context, arguments: Arguments, now: datetime) -> Read:
        if arguments.get("fill") not in {None, candles.Fill.NONE}:
            return await filled(context, arguments, now)
        ticker, text, count = arguments["ticker"], "", 0
        asked = pagination.span(ticker, None, arguments.get("from"), arguments.get("to"))
        zone = candles.clocks(arguments.get("timeZone"))
        bounds = await candles.bounds_of(context, arguments["interval"], zone, asked, now)
        if bounds:
            async with context.sessions() as session:
                text, count = await history.candles_json(session, ticker, bounds, row, now)
        if not count:
            await _newest(context, [ticker])
        return Read(f"[{text}]".encode(), SCOPES["candles"](arguments, now), count)

    return read


_STEPS: dict[str, Callable[[Root], Step]] = {
    "__typename": _typename,
    "candles": _candles,
    "latestPrice": _latest_price,
    "latestPrices": _latest_prices,
    "prices": _prices,
}
