"""A client of a quotes service: `Client` for scripts and notebooks, `AsyncClient` for asyncio.

It is a distribution of its own (quotes-client) and imports nothing else of `quotes`.
"""

from quotes.client.asynchronous import AsyncClient
from quotes.client.errors import (
    AddressError,
    BadInputError,
    CursorLostError,
    InternalError,
    OverloadedError,
    PersistedQueryNotFoundError,
    QuotesError,
    RefusedError,
    RetiredError,
    StalePriceError,
    ThrottledError,
    TooManyError,
    UnauthenticatedError,
    UnavailableError,
    UncertainPriceError,
    UnknownTickerError,
    UnreachableError,
)
from quotes.client.frames import Rows
from quotes.client.rows import (
    Candle,
    Fill,
    Gap,
    Gaps,
    Interval,
    LatestQuote,
    Origin,
    Point,
    Quote,
    Series,
    TickerInfo,
)
from quotes.client.synchronous import Client

__all__ = [
    "AddressError",
    "AsyncClient",
    "BadInputError",
    "Candle",
    "Client",
    "CursorLostError",
    "Fill",
    "Gap",
    "Gaps",
    "InternalError",
    "Interval",
    "LatestQuote",
    "Origin",
    "OverloadedError",
    "PersistedQueryNotFoundError",
    "Point",
    "Quote",
    "QuotesError",
    "RefusedError",
    "RetiredError",
    "Rows",
    "Series",
    "StalePriceError",
    "ThrottledError",
    "TickerInfo",
    "TooManyError",
    "UnauthenticatedError",
    "UnavailableError",
    "UncertainPriceError",
    "UnknownTickerError",
    "UnreachableError",
]
