"""A ticker's past, a page at a time; and of several tickers side by side, before the stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from datetime import UTC, datetime
from heapq import heappop, heappush

from quotes.client.endpoint import Endpoint
from quotes.client.errors import UnknownTickerError
from quotes.client.frames import Rows
from quotes.client.places import HistoryPlace, number
from quotes.client.rows import Quote
from quotes.client.wire import moment_text, rows, selection

PAGE = 10_000  # quotes of a page, and in memory of all tickers of a history
SMALLEST_PAGE = 100
FRESH = 0.25  # seconds; answers hold what was committed 0.1 s before they were requested

_PRICES = f"""query ($ticker: Ticker!, $date: Date, $from: DateTime, $to: DateTime,
    $first: Int, $after: String) {{
  prices(ticker: $ticker, date: $date, from: $from, to: $to, first: $first, after: $after) {{
    nodes {selection(Quote)} pageInfo {{ hasNextPage endCursor }} }} }}"""
# Hardly a quote is in the range: what is wanted is where the log ends.
_END = """query ($ticker: Ticker!, $from: DateTime!) {
  series(ticker: $ticker, from: $from, maxPoints: 4) { cursor } }"""
_NAMES = "{ tickers { name } }"


async def pages(  # noqa: PLR0913  # the range, in either of its forms
    endpoint: Endpoint,
    ticker: str,
    size: int = PAGE,
    *,
    date: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> AsyncGenerator[Rows[Quote], None]:
    """Of the quotes of the day, or of [since, until); none is empty."""
    span = {"ticker": ticker, "date": date, "from": since, "to": until}
    after, more = None, True
    while more:
        variables = {**span, "first": size, "after": after}
        page = (await endpoint.query(_PRICES, variables))["prices"]
        if page["nodes"]:
            yield rows(Quote, page["nodes"])
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]


async def begin(endpoint: Endpoint, tickers: Sequence[str] | None, since: datetime) -> str:
    """The place before the first quote of a history that goes over into the stream."""
    end = await end_of_stream(endpoint, tickers)
    await asyncio.sleep(FRESH)  # else a page may be older than the end
    return str(HistoryPlace(since, "", end))


async def end_of_stream(endpoint: Endpoint, tickers: Sequence[str] | None) -> str:
    """The cursor after which everything follows that is committed from now on."""
    names = await _names(endpoint) if tickers is None else tickers
    if not names:
        raise UnknownTickerError("There is no ticker to follow", {"code": "UNKNOWN_TICKER"})
    variables = {"ticker": names[0], "from": moment_text(datetime.now(UTC))}
    cursor: str = (await endpoint.query(_END, variables))["series"]["cursor"]
    return cursor


async def quotes(
    endpoint: Endpoint, tickers: Sequence[str] | None, place: HistoryPlace
) -> AsyncGenerator[Quote, None]:
    """What follows the place, but for what the stream has after `place.end`.

    In the order of minutes, then of tickers; the cursor of each is its place in the history.
    """
    names = await _names(endpoint) if tickers is None else tickers
    size = max(PAGE // max(len(names), 1), SMALLEST_PAGE)
    since, last = moment_text(place.at), number(place.end)
    at, ticker = place.at, place.ticker
    async with AsyncExitStack() as stack:
        pasts = [
            await stack.enter_async_context(
                aclosing(_each(pages(endpoint, name, size, since=since)))
            )
            for name in names
        ]
        async for quote in _merged(pasts):
            if (quote.at, quote.ticker) <= (at, ticker):
                continue
            at, ticker = quote.at, quote.ticker
            if quote.origin == "BACKFILLED" or number(quote.cursor) <= last:
                yield replace(quote, cursor=str(HistoryPlace(at, ticker, place.end)))


async def _names(endpoint: Endpoint) -> list[str]:
    return [each["name"] for each in (await endpoint.query(_NAMES, {}))["tickers"]]


async def _each(pages: AsyncGenerator[Rows[Quote], None]) -> AsyncGenerator[Quote, None]:
    async with aclosing(pages):
        async for page in pages:
            for quote in page:
                yield quote


async def _merged(pasts: Sequence[AsyncIterator[Quote]]) -> AsyncGenerator[Quote, None]:
    """Of several that are in order the next of all, each time."""
    heap: list[tuple[datetime, str, int, Quote]] = []

    async def take(place: int) -> None:
        if quote := await anext(pasts[place], None):
            heappush(heap, (quote.at, quote.ticker, place, quote))

    for place in range(len(pasts)):
        await take(place)
    while heap:
        _, _, place, quote = heappop(heap)
        yield quote
        await take(place)
