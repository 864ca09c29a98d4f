"""What a UDF request asks for, in its URL."""

from datetime import UTC, datetime

from starlette.datastructures import QueryParams

from quotes.api.errors import bad_input
from quotes.market import tickers

MAX_DIGITS = 15
LATEST = int(datetime(9000, 1, 1, tzinfo=UTC).timestamp())


class Parameters:
    """Those that are not known are ignored, as `currencyCode`. Each raises RefusedError."""

    def __init__(self, given: QueryParams) -> None:
        self._given = given

    def text(self, name: str) -> str:
        return self._given.get(name, "").strip()

    def ticker(self) -> str:
        """Of `symbol`, which may have its exchange before it: `deribit:BTC_USD`."""
        name = self.text("symbol").rpartition(":")[2]
        if not name:
            raise bad_input("`symbol` is missing: name a ticker, as symbol=btc_usd.")
        try:
            return tickers.parse(name)
        except ValueError as error:
            raise bad_input(f"`symbol`: {error}.") from None

    def number(self, name: str, default: int | None, *, least: int, most: int) -> int:
        """A whole number; beyond the bounds, the bound."""
        text = self.text(name)
        if not text and default is not None:
            return default
        try:
            if len(text) > MAX_DIGITS:
                raise ValueError  # noqa: TRY301  # as any other that is none
            number = int(text)
        except ValueError:
            raise bad_input(f"`{name}` is a whole number, not {text[:20]!r}.") from None
        return min(max(number, least), most)

    def moment(self, name: str) -> datetime:
        """Of UNIX seconds."""
        return datetime.fromtimestamp(self.number(name, None, least=0, most=LATEST), UTC)
