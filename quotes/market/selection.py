"""What QUOTES_TICKERS selects: tickers by their names, and any number of them by patterns."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

from quotes.market import tickers

ANY = "*"
# As the names, whose parts may be any.
_PATTERN = re.compile(r"[a-z0-9*]+(-[a-z0-9*]+)?(_[a-z0-9*]+)?")


def word(text: str) -> str:
    """A ticker or a pattern, as it is written canonically. Raises ValueError for anything else."""
    name = text.strip().lower()
    if name in tickers.ALL:
        return ANY
    if ANY not in name:
        return tickers.parse(name)
    if len(name) <= tickers.MAX_LENGTH and _PATTERN.fullmatch(name):
        return name
    shown = text if len(text) <= tickers.MAX_LENGTH else text[: tickers.MAX_LENGTH] + "..."
    raise ValueError(
        f"{shown!r} matches no ticker; write a pattern as *_usd or btc_*, where * is any part of a "
        f"ticker's name, with at most {tickers.MAX_LENGTH} characters, or all for all of them"
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """Canonical words, in their order. What patterns select depends on what the exchange lists."""

    names: tuple[str, ...]
    patterns: tuple[str, ...]

    @classmethod
    def of(cls, words: Iterable[str]) -> Self:
        """Each of them as `word` has it."""
        both = tuple(words)
        return cls(
            tuple(each for each in both if ANY not in each),
            tuple(each for each in both if ANY in each),
        )

    def tickers(self, listed: Collection[str]) -> tuple[str, ...]:
        """Those named, whether they are listed or not, then those listed that match."""
        matching = (each for each in sorted(listed) if self.matches(each))
        return tuple(dict.fromkeys((*self.names, *matching)))

    def matches(self, ticker: str) -> bool:
        """Whether a pattern selects it."""
        return any(fnmatchcase(ticker, each) for each in self.patterns)

    def unmatched(self, listed: Collection[str]) -> list[str]:
        """The patterns that select none of these."""
        return [each for each in self.patterns if not any(fnmatchcase(it, each) for it in listed)]
