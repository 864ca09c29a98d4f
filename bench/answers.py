"""How long the same takes with fewer and with more years in the database, in turns."""

import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import aiohttp
from lanes import subscribed
from minutes import Database
from sides import Client, Running, Side, children, cpu, post, running, sides, spent
from tables import table
from workloads import CANDLES, DAY, DAY_OF, LATEST, QUARTER, SERIES, TODAY, Body, Writer, body, utc

from quotes.api import cursors
from quotes.database.log import store, stream
from quotes.database.sessions import Sessions, open_engine

RUNS, REPLAYS = 31, 5
REPLAYED = 7_500  # quotes
BEHIND = 50_000  # quotes, of which an API has the last ones in memory
GAPS = """
    query ($t: Ticker!, $a: DateTime!, $b: DateTime!) {
      gaps(ticker: $t, from: $a, to: $b) { expected present nodes { from to minutes } } }
"""
YEAR = 365 * DAY
WITHOUT_FEED, UNCACHED = sides("")[1:3]


@dataclass(frozen=True)
class Cost:
    """Milliseconds of an operation."""

    whole: float
    database: float  # CPU time of all its processes


@dataclass(frozen=True)
class Served:
    """A database with an API."""

    database: Database
    one: Running
    writer: Writer
    behind: str  # the cursor of the quote before the last BEHIND ones

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.one.port}"

    async def cost(self, action: "Action") -> Cost:
        before, began = cpu(children(self.database.pid)), time.perf_counter()
        await action(self)
        whole = time.perf_counter() - began
        return Cost(whole * 1e3, spent(before, children(self.database.pid)) * 1e3)

    async def ask(self, question: Body) -> None:
        async with Client(self.one.port) as client:
            answer = await client.answer(post(question))
            assert b'"errors"' not in answer, answer

    async def replay(self, after: str, tickers: str) -> None:
        """The first quotes after that cursor."""
        query = f'subscription {{ priceUpdates(after: "{after}"{tickers}) {{ ticker price at }} }}'
        async with (
            aiohttp.ClientSession() as http,
            subscribed(http, self.url, [query]) as socket,
        ):
            for _ in range(REPLAYED):
                message = await socket.receive_json()
                assert message["type"] == "next", message


@asynccontextmanager
async def served(database: Database, side: Side) -> AsyncIterator[Served]:
    names = list(database.listed)
    settings = {**side.settings, "QUOTES_TICKERS": ",".join(names)}
    core = min(os.sched_getaffinity(0))
    async with (
        running(replace(side, settings=settings), database.url, core) as one,
        open_engine(database.url, name="bench") as engine,
    ):
        sessions = Sessions(engine)
        async with sessions() as session:
            upto = await store.high_water(session) - BEHIND
            [behind] = await stream.end(session, upto=upto, limit=1)
            newest = max(quote.minute for quote in await store.newest(session, names))
        writer = Writer(sessions, newest, names)
        yield Served(database, one, writer, cursors.stream(behind))


def questions(names: Sequence[str]) -> dict[str, Body]:
    """Each of another ticker, so that none reads for the next one. The first has a whole year."""
    quarter, year = ({"a": utc(since), "b": utc(TODAY)} for since in (QUARTER, TODAY - YEAR))
    return {
        "the gaps and the coverage of a year": body(GAPS, t=names[0], **year),
        "1 h candles over 90 days": body(CANDLES, t=names[1], **quarter),
        "90 days in 1,000 points": body(SERIES, t=names[2], **quarter),
        "a day's 1,440 prices": body(DAY_OF, t=names[3], d=str((TODAY - 30 * DAY).date())),
        "`latestPrice`": body(LATEST, t=names[4]),
    }


Action = Callable[[Served], Awaitable[object]]


def actions(names: Sequence[str], late: str) -> dict[str, tuple[int, Action]]:
    """What is compared, and how often. `late` is the ticker that was listed last."""
    asked: dict[str, tuple[int, Action]] = {
        name: (RUNS, partial(Served.ask, question=question))
        for name, question in questions(names).items()
    }
    replayed = f"a replay of {REPLAYED:,} quotes"
    return {
        **asked,
        f"{replayed}, of the ticker listed last": (
            REPLAYS,
            lambda each: each.replay(cursors.BEGINNING, f', tickers: ["{late}"]'),
        ),
        f"{replayed}, of all": (REPLAYS, lambda each: each.replay(each.behind, "")),
        "a minute of all tickers stored": (RUNS, lambda each: each.writer.minute()),
    }


async def report(small: Database, large: Database, late: str) -> None:
    """Of both, in Markdown; "first" is that of data which is nowhere in memory."""
    names = list(large.listed)
    lines = await compared(small, large, UNCACHED, actions(names, late))
    question = body(LATEST, t=names[5])
    newest = {
        "`latestPrice`, read from the database": (RUNS, partial(Served.ask, question=question))
    }
    lines += await compared(small, large, WITHOUT_FEED, newest)
    pairs = ("median", "database's CPU", "first")
    heads = [f"{what}, {which}" for what in pairs for which in ("small", "large", "ratio")]
    print(table(["milliseconds", *heads], lines), flush=True)


async def compared(
    small: Database, large: Database, side: Side, asked: Mapping[str, tuple[int, Action]]
) -> list[list[str]]:
    lines = []
    async with served(small, side) as less, served(large, side) as more:
        for name, (runs, action) in asked.items():
            costs = [(await less.cost(action), await more.cost(action)) for _ in range(runs)]
            wholes, databases = (
                [(getattr(one, kind), getattr(other, kind)) for one, other in costs]
                for kind in ("whole", "database")
            )
            lines.append([name, *ratio(wholes), *ratio(databases), *ratio(wholes[:1])])
            print(" ".join(lines[-1]), file=sys.stderr, flush=True)
    return lines


def ratio(pairs: Sequence[tuple[float, float]]) -> tuple[str, str, str]:
    less, more = (median(each) for each in zip(*pairs, strict=True))
    return f"{less:,.1f}", f"{more:,.1f}", f"{more / max(less, 0.001):.2f}"
