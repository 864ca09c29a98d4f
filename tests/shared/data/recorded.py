"""Recorded minutes of two tickers, to be played by the stand-in exchange."""

import csv
from itertools import islice
from pathlib import Path

from paths import REPLAY
from rows import minute

REPLAYED = 60  # minutes of each ticker


def recorded(ticker: str) -> list[tuple[str, str]]:
    """Each minute and its price, as they are written in the file."""
    return rows(REPLAY / f"{ticker}.csv")


def rows(file: Path) -> list[tuple[str, str]]:
    """They lie beside the maintainers' checkouts; elsewhere they are made up."""
    if not file.exists():
        moments = (minute(at) for at in range(REPLAYED))
        return [(f"{at:%Y-%m-%dT%H:%M:00Z}", f"{at:%H%M}.{at:%M}1") for at in moments]
    with file.open() as lines:
        return [(row["at"], row["price"]) for row in islice(csv.DictReader(lines), REPLAYED)]
