"""The client: queries, pages of any range, and the stream."""

import ssl
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self, TypeVar

from quotes.client import candles, follow, gaps, history
from quotes.client.endpoint import ATTEMPTS, SILENCE, TIMEOUT, Endpoint, Limits
from quotes.client.frames import Rows
from quotes.client.rows import (
    Candle,
    Fill,
    Gaps,
    Interval,
    LatestQuote,
    Point,
    Quote,
    Series,
    TickerInfo,
)
from quotes.client.wire import (
    Day,
    Duration,
    Moment,
    day_text,
    duration_text,
    moment,
    moment_text,
    row,
    rows,
    selection,
)

Row = TypeVar("Row")
Tickers = str | Iterable[str] | None  # one, some, or all

_LATEST = f"""query ($tickers: [Ticker!]) {{
  latestPrices(tickers: $tickers) {selection(LatestQuote)} }}"""
_LATEST_PRICE = f"""query ($ticker: Ticker!, $maxAge: Duration, $maxSpread: Percent) {{
  latestPrice(ticker: $ticker, maxAge: $maxAge, maxSpread: $maxSpread)
    {selection(LatestQuote)} }}"""
_SERIES = """query ($ticker: Ticker!, $from: DateTime, $to: DateTime, $maxPoints: Int!) {
  series(ticker: $ticker, from: $from, to: $to, maxPoints: $maxPoints) {
    times prices count cursor } }"""
_TICKERS = f"{{ tickers {selection(TickerInfo)} }}"


class AsyncClient:
    """A client of the service at `url`, as in http://127.0.0.1:8000.

    A ticker is written as `btc_usd`, `BTC_USD` or just `BTC`. Ranges are [since, until); a moment
    is a datetime with a time zone, or its text. What is wrong is raised as a QuotesError.
    """

    def __init__(  # noqa: PLR0913  # each has a default
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = TIMEOUT,
        silence: float = SILENCE,
        attempts: int = ATTEMPTS,
        ssl: ssl.SSLContext | None = None,
    ) -> None:
        """Nothing is sent yet.

        `timeout` is in seconds, of each attempt to get an answer, of which there are at most
        `attempts`. A connection on which nothing has come for `silence` seconds is tested.
        """
        limits = Limits(timeout=timeout, silence=silence, attempts=attempts)
        self._endpoint = Endpoint(url, limits, token=token, ssl=ssl)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoint.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._endpoint.close()

    async def latest(self, tickers: Tickers = None) -> Rows[LatestQuote]:
        """The newest quote of each ticker that has one, in the order of their names."""
        data = await self._endpoint.query(_LATEST, {"tickers": _listed(tickers)})
        return rows(LatestQuote, data["latestPrices"])

    async def latest_price(
        self, ticker: str, *, max_age: Duration | None = None, max_spread: str | None = None
    ) -> LatestQuote | None:
        """None before the first.

        Raises StalePriceError for one that is older than `max_age`, as `90s`; UncertainPriceError
        where the exchanges it is made of are further apart than `max_spread`, as `0.5%`.
        """
        variables = {
            "ticker": ticker,
            "maxAge": duration_text(max_age),
            "maxSpread": max_spread,
        }
        found = (await self._endpoint.query(_LATEST_PRICE, variables))["latestPrice"]
        return None if found is None else row(LatestQuote, found)

    async def prices(
        self,
        ticker: str,
        date: Day | None = None,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> Rows[Quote]:
        """A ticker's quotes of a UTC day, or of a range, oldest first."""
        pages = self.price_pages(ticker, date, since=since, until=until)
        return await _joined(Quote, pages)

    def price_pages(
        self,
        ticker: str,
        date: Day | None = None,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> AsyncGenerator[Rows[Quote], None]:
        """As `prices`, at most 10,000 at a time."""
        return history.pages(
            self._endpoint,
            ticker,
            date=day_text(date),
            since=moment_text(moment(since)),
            until=moment_text(moment(until)),
        )

    async def candles(  # noqa: PLR0913  # the range, and how it is divided
        self,
        ticker: str,
        interval: Interval,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        fill: Fill = "NONE",
        time_zone: str | None = None,
    ) -> Rows[Candle]:
        """Those that begin in the range; without `since`, some 500 before `until` or now.

        They follow UTC, or the clocks of a `time_zone`, as `Europe/Berlin`.
        """
        pages = self.candle_pages(
            ticker, interval, since=since, until=until, fill=fill, time_zone=time_zone
        )
        return await _joined(Candle, pages)

    def candle_pages(  # noqa: PLR0913  # as `candles`
        self,
        ticker: str,
        interval: Interval,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        fill: Fill = "NONE",
        time_zone: str | None = None,
    ) -> AsyncGenerator[Rows[Candle], None]:
        """As `candles`, a few thousand at a time."""
        return candles.pieces(
            self._endpoint, ticker, interval, moment(since), moment(until), fill, time_zone
        )

    async def series(
        self,
        ticker: str,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        max_points: int = 1_000,
    ) -> Series:
        """A ticker's prices for a chart: at most `max_points`, of 4 to 10,000."""
        span = _span(ticker, since, until)
        variables = {**span, "maxPoints": max_points}
        found = (await self._endpoint.query(_SERIES, variables))["series"]
        columns = zip(found["times"], found["prices"], strict=True)
        points = (
            Point(at=datetime.fromtimestamp(time, UTC), price=Decimal(price))
            for time, price in columns
        )
        return Series(points=Rows(Point, points), count=found["count"], cursor=found["cursor"])

    async def gaps(
        self, ticker: str, *, since: Moment | None = None, until: Moment | None = None
    ) -> Gaps:
        """Every minute is expected to have a quote, from the ticker's first on or in the range."""
        return await gaps.read(self._endpoint, _span(ticker, since, until))

    async def tickers(self) -> Rows[TickerInfo]:
        """Every ticker that is collected or has quotes, in the order of their names."""
        return rows(TickerInfo, (await self._endpoint.query(_TICKERS, {}))["tickers"])

    async def query(
        self, document: str, variables: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """The `data` of any GraphQL query, as it is."""
        return await self._endpoint.query(document, variables or {})

    def follow(
        self,
        tickers: Tickers = None,
        *,
        after: str | None = None,
        since: Moment | None = None,
    ) -> AsyncGenerator[Quote, None]:
        """Quotes as they are committed, each once and in order, for ever.

        It begins after the quote whose `cursor` is given; without one, with the history since a
        moment, in the order of minutes, and then goes over into the stream; with neither, with the
        newest quote of each ticker. It connects again by itself, and loses nothing: where the
        service has lost the cursor, as after a restore of a backup, it raises CursorLostError.
        """
        return follow.follow(self._endpoint, _listed(tickers), after, moment(since))


def _listed(tickers: Tickers) -> Sequence[str] | None:
    return [tickers] if isinstance(tickers, str) else None if tickers is None else list(tickers)


def _span(ticker: str, since: Moment | None, until: Moment | None) -> dict[str, str | None]:
    return {
        "ticker": ticker,
        "from": moment_text(moment(since)),
        "to": moment_text(moment(until)),
    }


async def _joined(kind: type[Row], pages: AsyncGenerator[Rows[Row], None]) -> Rows[Row]:
    whole = Rows(kind)
    async with aclosing(pages):
        async for page in pages:
            whole.extend(page)
    return whole
