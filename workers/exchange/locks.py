"""Which indexes the exchange has locked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Locked:
    """Which indexes are locked: as `public/status` reports, in any of its documented forms."""

    everything: bool = False
    tickers: frozenset[str] = frozenset()
    currencies: frozenset[str] = frozenset()

    @classmethod
    def of(cls, status: object) -> "Locked":
        if not isinstance(status, dict):
            return cls()
        named = (status.get("locked_indices"), status.get("locked_currencies"))
        tickers, currencies = (
            frozenset(str(each).lower() for each in names) if isinstance(names, list) else None
            for names in named
        )
        locked = str(status.get("locked")).lower() == "true"
        return cls(
            locked and tickers is None and currencies is None,
            tickers or frozenset(),
            currencies or frozenset(),
        )

    def changed(self, ticker: str, *, locked: bool) -> "Locked":
        tickers = self.tickers | {ticker} if locked else self.tickers - {ticker}
        return Locked(self.everything and locked, tickers, self.currencies)

    def __contains__(self, ticker: object) -> bool:
        return (
            self.everything
            or ticker in self.tickers
            or str(ticker).partition("_")[0] in self.currencies
        )
