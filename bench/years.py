"""Whether the service is as quick, and its data as small, after years: and dropping the oldest.

    python bench/years.py [--years 3] [--tickers 20] [--keep 12] [--folder FOLDER]

Stores that many years of minutes of that many tickers (31 million quotes) in a PostgreSQL of its
own, and in another one the last 90 days alone, of one ticker a year. Prints the bytes a quote
takes, and how long an API takes to answer the same from either, in turns and without its cache.
"First" is what was asked first, of data that no memory held. Then it drops all but the last months,
as a worker does, beside two readers without pause, a writer that stores five minutes a second, and
a subscriber. Takes half an hour and 12 GB of disk. The databases are left in the folder, if one is
given, and what is there is used.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import answers
import retirement
import sizes
from minutes import stored
from workloads import DAY, QUARTER, TODAY

from quotes.database.maintenance import revisions
from workers.demo import market

SECONDS = 15  # beside readers, before months are dropped
RECENT = 8 * DAY  # since the last ticker was listed


@contextmanager
def place(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="quotes-years-") as folder:
        Path(folder).chmod(0o755)  # its servers run as a user of their own
        yield Path(folder)


async def main(given: argparse.Namespace, folder: Path) -> None:
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    first, *rest, late = market.INDEXES[: given.tickers + 1]
    begin, listed_late = TODAY - round(given.years * 365) * DAY, {late: TODAY - RECENT}
    year, quarter = max(begin, TODAY - answers.YEAR), max(begin, QUARTER)
    recent = {first: year} | dict.fromkeys(rest, quarter) | listed_late
    every = dict.fromkeys((first, *rest), begin) | listed_late
    async with (
        stored(folder / "small", recent, end) as small,
        stored(folder / "large", every, end) as large,
    ):
        where = f"revision {revisions.head()}, load {os.getloadavg()[0]:.1f}"
        print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {where}\n", flush=True)
        await sizes.report(large.url)
        await answers.report(small, large, late)
        async with answers.served(large, answers.UNCACHED) as served:
            await retirement.report(served, given.keep, SECONDS)
        print(f"\nload {os.getloadavg()[0]:.1f}")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--years", type=float, default=3)
    parser.add_argument("--tickers", type=int, default=20)
    parser.add_argument("--keep", type=int, default=12, help="months that are not dropped")
    parser.add_argument("--folder", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its servers end with it
    options_given = options()
    with place(options_given.folder) as databases:
        asyncio.run(main(options_given, databases))
