"""The tables of bench/queries, in Markdown: medians of the rounds."""

from collections.abc import Sequence
from itertools import starmap
from statistics import median

from sides import BARE, OURS, THEIRS, UNCACHED
from workloads import pages

CONNECTIONS = 16
NAMES = (OURS, UNCACHED, THEIRS, BARE)

Figures = dict[str, float]
Rounds = list[Figures]
Measured = dict[tuple[str, int], Rounds]  # by the side's name, and the number of connections


def middle(rounds: Rounds, key: str) -> float:
    return median(each[key] for each in rounds)


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    ruler = "|---" + "|---:" * (len(head) - 1) + "|"
    return "\n".join([row(*head), ruler, *starmap(row, lines), ""])


def rates(found: dict[str, Measured]) -> str:
    """Answers a second, and how many times PostGraphile's that is in the median round."""
    lines = []
    for name, measured in found.items():
        peers = measured[THEIRS, CONNECTIONS]
        cells = [name]
        for side in NAMES:
            rounds = measured.get((side, CONNECTIONS))
            cells.append("" if rounds is None else f"{middle(rounds, 'rate'):,.0f}")
            if rounds is not None and side != THEIRS:
                pairs = zip(rounds, peers, strict=True)
                times = median(one["rate"] / peer["rate"] for one, peer in pairs)
                cells[-1] += f" ({times:.1f}x)"
        lines.append(cells)
    return table([f"answers a second, {CONNECTIONS} connections", *NAMES], lines)


def costs(found: dict[str, Measured]) -> str:
    """CPU of the server and the database for each answer."""

    def cell(rounds: Rounds | None) -> str:
        if rounds is None:
            return ""
        return f"{middle(rounds, 'cpu'):,.0f} + {middle(rounds, 'database'):,.0f}"

    lines = [
        [name, *(cell(measured.get((side, CONNECTIONS))) for side in NAMES)]
        for name, measured in found.items()
    ]
    return table(["CPU of an answer, server + database, us", *NAMES], lines)


def latencies(found: dict[str, Measured]) -> str:
    def cell(rounds: Rounds | None) -> str:
        if rounds is None:
            return ""
        return f"{middle(rounds, 'p50'):.2f} / {middle(rounds, 'p99'):.2f}"

    lines = [
        [name, *(cell(measured.get((side, 1))) for side in NAMES)]
        for name, measured in found.items()
    ]
    return table(["p50 / p99 at one connection, ms", *NAMES], lines)


def of_pages(found: dict[str, Rounds]) -> str:
    kinds = {
        "alone": "all pages, ms",
        "beside": f"all pages beside {CONNECTIONS} others that request `latestPrice`, ms",
        "memory": "memory at the peak, MiB more than before",
        "p99": "p99 of the others' `latestPrice`, ms",
        "quiet p99": "the same without the pages, ms",
    }
    lines = [
        [name, *(f"{middle(rounds, kind):,.1f}" for rounds in found.values())]
        for kind, name in kinds.items()
    ]
    return table([pages().name, *found], lines)
