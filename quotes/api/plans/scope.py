"""What an answer rests on, so that it is answered again only as long as that stands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from quotes.database.models import Quote

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Scope:
    """Quotes of these tickers, or of all with None, whose minutes are in [since, until)."""

    tickers: frozenset[str] | None
    since: datetime | None = None
    until: datetime | None = None
    expires: datetime | None = None  # when the answer would change without any new quote

    def holds(self, quote: Quote) -> bool:
        return (
            (self.tickers is None or quote.ticker in self.tickers)
            and (self.since is None or self.since <= quote.minute)
            and (self.until is None or quote.minute < self.until)
        )


FOREVER = Scope(frozenset())  # rests on no quote at all
ONCE = Scope(frozenset(), expires=datetime.min.replace(tzinfo=UTC))  # never to be answered again


def _candles(arguments: Mapping[str, Any], now: datetime) -> Scope:
    """Candles under way change with each minute, and `fill` may look before the first."""
    until: datetime | None = arguments.get("to")
    tickers = frozenset([arguments["ticker"]])
    if until is not None and until <= now:
        end = until + 2 * arguments["interval"].length  # the last one's, and more on a long day
        if end <= now:
            return Scope(tickers, until=end)
    return Scope(tickers, expires=now.replace(second=0, microsecond=0) + MINUTE)


def _of_ticker(arguments: Mapping[str, Any], now: datetime) -> Scope:
    return Scope(frozenset([arguments["ticker"]]))


def _series(arguments: Mapping[str, Any], now: datetime) -> Scope:
    return Scope(frozenset([arguments["ticker"]]), arguments.get("from"), arguments.get("to"))


def _of_tickers(arguments: Mapping[str, Any], now: datetime) -> Scope:
    tickers = arguments.get("tickers")
    return Scope(None if tickers is None else frozenset(tickers))


# For the fields that are read by their resolvers.
SCOPES: dict[str, Callable[[Mapping[str, Any], datetime], Scope]] = {
    "candles": _candles,
    "change": _of_ticker,
    "priceAt": _of_ticker,
    "series": _series,
    "sparklines": _of_tickers,
}
