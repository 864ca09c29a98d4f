"""What there is to draw: the tickers, as UDF has its symbols."""

import re
from typing import Any

from quotes.server.operations import Streams
from quotes.server.own_queries import data
from quotes.server.udf.parameters import Parameters
from quotes.server.udf.resolutions import MULTIPLIERS, RESOLUTIONS

KIND = "index"
USUAL, MOST = 30, 500  # symbols that a search finds
RECENT = 60  # quotes that a price's usual digits are read from
MOST_DECIMALS = 16

# `/symbol_info`, marks and the quotes of a terminal's watch list are not served.
CONFIG = {
    "supports_search": True,
    "supports_group_request": False,
    "supports_marks": False,
    "supports_timescale_marks": False,
    "supports_time": True,
    "supported_resolutions": [*RESOLUTIONS],
    "exchanges": [],
    "symbols_types": [],
}

_RECENT = f"""query ($ticker: Ticker!) {{
  prices(ticker: $ticker, last: {RECENT}) {{ nodes {{ price source origin }} }} }}"""
_ALL = "{ latestPrices { ticker source } }"


async def symbol(streams: Streams, parameters: Parameters) -> dict[str, Any]:
    """Raises RefusedError."""
    ticker = parameters.ticker()
    found, _ = await data(streams, _RECENT, ticker=ticker)
    quotes = found["prices"]["nodes"]
    exchange = quotes[-1]["source"] if quotes else ""
    return {
        **_named(ticker, exchange),
        "name": ticker.upper(),
        "listed_exchange": exchange,
        "session": "24x7",
        "timezone": "Etc/UTC",
        "minmov": 1,
        "pricescale": 10 ** _decimals(quotes),
        "has_intraday": True,
        "has_daily": True,
        "has_weekly_and_monthly": True,
        **MULTIPLIERS,
        "supported_resolutions": [*RESOLUTIONS],
        "visible_plots_set": "ohlc",
        "data_status": "streaming",
        "format": "price",
    }


async def search(streams: Streams, parameters: Parameters) -> list[dict[str, Any]]:
    """Those whose names begin with what is looked for, then those that hold it.

    Raises RefusedError.
    """
    wanted = _letters(parameters.text("query"))
    kind, exchange = (parameters.text(name).lower() for name in ("type", "exchange"))
    most = parameters.number("limit", USUAL, least=1, most=MOST)
    found, _ = await data(streams, _ALL)
    names = [
        (not _letters(each["ticker"]).startswith(wanted), each["ticker"], each["source"])
        for each in found["latestPrices"]
        if wanted in _letters(each["ticker"])
        and kind in {"", KIND}
        and exchange in {"", each["source"].lower()}
    ]
    return [_found(ticker, source) for _, ticker, source in sorted(names)[:most]]


def _found(ticker: str, exchange: str) -> dict[str, Any]:
    return {
        **_named(ticker, exchange),
        "symbol": ticker.upper(),
        "full_name": f"{exchange}:{ticker.upper()}",
    }


def _named(ticker: str, exchange: str) -> dict[str, Any]:
    base, _, quoted = ticker.upper().rpartition("_")
    return {
        "ticker": ticker,
        "description": f"{base} / {quoted} index",
        "type": KIND,
        "exchange": exchange,
    }


def _decimals(quotes: list[dict[str, Any]]) -> int:
    """Of live prices, if there are any: averages of the past have more of them."""
    live = [each for each in quotes if each["origin"] == "LIVE"]
    prices = [each["price"] for each in live or quotes]
    return min(max((len(each.partition(".")[2]) for each in prices), default=2), MOST_DECIMALS)


def _letters(text: str) -> str:
    """So that BTCUSD, BTC/USD and btc_usd are the same."""
    return re.sub(r"[^a-z0-9]", "", text.lower())
