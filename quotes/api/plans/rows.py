"""How the database is to write rows and their pages: by what is selected of them."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import orjson

from quotes.api import cursors, pagination, types
from quotes.api.context import Context
from quotes.api.plans.selection import NotPlainError, Selection
from quotes.database.log.store import Span
from quotes.database.queries import json_pages

Part = Callable[[Context, pagination.Page, json_pages.Page], Awaitable[str]]


def part(name: str, selected: Selection | None, rows: list[json_pages.Row]) -> Part:
    """One field of a page; what it needs of each quote is added to `rows`.

    Raises NotPlainError.
    """
    if selected is None:
        return _connection
    if name == "pageInfo":
        return partial(_page_info, selected)
    rows.append(tuple(row_of(selected, json_pages.COLUMNS)))
    return partial(_list, len(rows) - 1)


async def _connection(context: Context, page: pagination.Page, found: json_pages.Page) -> str:
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


def row_of(
    selected: Selection, columns: Mapping[str, json_pages.Column]
) -> list[str | json_pages.Column]:
    """The JSON of an object whose fields are columns. Raises NotPlainError for other fields."""
    pieces: list[str | json_pages.Column] = ["{"]
    for each in selected:
        pieces.append(f"{',' if len(pieces) > 1 else ''}{json_name(each.key)}:")
        if each.name == "confidence":  # of the newest quotes alone, which are in memory
            pieces.append("null")
        elif each.inner is not None:
            pieces += row_of(each.inner, columns)
        elif each.name == "__typename":
            pieces.append(f'"{selected.type_name}"')
        elif selected.type_name == types.QuoteEdge.__name__:
            pieces.append(json_pages.COLUMNS["pageCursor"])
        elif each.name in columns:
            pieces.append(columns[each.name])
        else:
            raise NotPlainError
    return [*pieces, "}"]


def json_name(key: str) -> str:
    return f'"{key}"'  # a GraphQL name has nothing to escape
