"""Following the stream through whatever happens to either end of it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from datetime import datetime

from quotes.client import history
from quotes.client.backoff import Backoff
from quotes.client.endpoint import Endpoint, may_pass
from quotes.client.errors import CursorLostError, QuotesError, RefusedError, UnreachableError
from quotes.client.places import HistoryPlace
from quotes.client.rows import Quote
from quotes.client.subscription import updates

log = logging.getLogger("quotes.client")

_ANY = "query ($tickers: [Ticker!]) { latestPrices(tickers: $tickers) { ticker } }"
_HELLO = "{ __typename }"


async def follow(
    endpoint: Endpoint,
    tickers: Sequence[str] | None,
    after: str | None,
    since: datetime | None,
) -> AsyncGenerator[Quote, None]:
    """Quotes for ever, each once.

    It begins only if the service answers; from then on, it is waited for whenever it is away.
    """
    after = await _start(endpoint, tickers, after, since)
    backoff, last = Backoff(), None
    while True:
        try:
            async with aclosing(_quotes(endpoint, tickers, after)) as quotes:
                async for last in quotes:
                    after = last.cursor
                    backoff.succeeded()
                    yield last
        except CursorLostError as lost:
            await _describe(lost, endpoint, tickers, after, last)
            raise
        except (UnreachableError, RefusedError) as error:
            if not may_pass(error):
                raise
            seconds = backoff.failed(error.retry_after)
            log.warning("%s It is tried again in %.1f s, after the last cursor.", error, seconds)
        await asyncio.sleep(seconds)


async def _start(
    endpoint: Endpoint, tickers: Sequence[str] | None, after: str | None, since: datetime | None
) -> str | None:
    if after is not None:
        await endpoint.query(_HELLO, {})
        return after
    if since is not None:
        return await history.begin(endpoint, tickers, since)
    # The stream begins with the newest quotes. Where there are none yet, the first ones must not
    # be missed because the connection is lost before them.
    end = await history.end_of_stream(endpoint, tickers)
    newest = (await endpoint.query(_ANY, {"tickers": tickers}))["latestPrices"]
    return None if newest else end


async def _quotes(
    endpoint: Endpoint, tickers: Sequence[str] | None, after: str | None
) -> AsyncGenerator[Quote, None]:
    """The rest of the history, if `after` is a place in it, and the stream until it breaks."""
    if after is not None and (place := HistoryPlace.of(after)):
        async with aclosing(history.quotes(endpoint, tickers, place)) as past:
            async for quote in past:
                yield quote
        after = place.end
    async with aclosing(updates(endpoint, tickers, after)) as stream:
        async for quote in stream:
            yield quote


async def _describe(
    lost: CursorLostError,
    endpoint: Endpoint,
    tickers: Sequence[str] | None,
    after: str | None,
    last: Quote | None,
) -> None:
    """Add where it happened, and where to go on."""
    lost.after = after
    lost.last_minute = None if last is None else last.at
    with suppress(QuotesError):
        lost.cursor = await history.end_of_stream(endpoint, tickers)
