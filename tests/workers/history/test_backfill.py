"""History from the stand-in exchange's charts."""

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise

import pytest
from client import serving
from processes import environment, send_fill_gaps, worker
from rows import NOON, insert, log, minute, quote, wait
from sqlalchemy import update
from sqlmodel import col, select

from quotes.database import backfills
from quotes.database.models import Backfill, Origin, Quote
from quotes.database.sessions import Sessions
from quotes.market.sources import Cause, Point, Range
from quotes.settings import Settings
from workers.demo.exchange import Exchange, Fault, serve
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace
from workers.history.charts import SETTLED, Fetched, backfill, quotes_of, unfinished

NOW = NOON + timedelta(minutes=7, seconds=2)
MONTH_OF_HOURS = 30 * 24
Row = tuple[str, datetime, Decimal, datetime, str]


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(clock=lambda: NOW)


@pytest.fixture
async def here(exchange: Exchange, settings: Settings) -> AsyncIterator[Settings]:
    async with serve(exchange) as url:
        yield settings.model_copy(update={"deribit_url": url})


@pytest.fixture
async def source(here: Settings) -> AsyncIterator[Deribit]:
    async with open_http(here.deribit_url) as http:
        yield Deribit(http, here.deribit_url, Pace(rate=1_000))


async def rows(sessions: Sessions, ticker: str = "btc_usd") -> list[Row]:
    """All that is kept of the ticker but for when it was kept."""
    async with sessions() as session:
        query = select(Quote).where(col(Quote.ticker) == ticker).order_by(col(Quote.minute))
        return [
            (each.ticker, each.minute, each.price, each.observed_at, each.origin)
            for each in (await session.exec(query)).all()
        ]


async def fetch(
    source: Deribit, sessions: Sessions, spans: Iterable[Range] = Range, now: datetime = NOW
) -> list[Fetched]:
    """What came of each chart of btc_usd."""
    return [
        await backfill("btc_usd", span, source, sessions, now=now, until=now - SETTLED)
        for span in spans
    ]


async def test_a_first_start_stores_each_chart_at_its_own_step_the_finest_first(
    source: Deribit, sessions: Sessions
) -> None:
    fetched = await fetch(source, sessions)

    assert [each.span for each in fetched] == [*Range]
    assert fetched[0].step == timedelta(seconds=6)
    assert fetched[3].step == timedelta(hours=1)
    stored = await rows(sessions)
    assert len(stored) == sum(each.stored for each in fetched)
    assert {origin for *_, origin in stored} == {"BACKFILLED"}
    assert len([at for _, at, *_ in stored if at >= NOW - timedelta(days=30)]) > MONTH_OF_HOURS
    within_the_hour = [at for _, at, *_ in stored if at >= NOON - timedelta(minutes=50)]
    settled = (NOW - SETTLED).replace(second=0)
    assert within_the_hour == [
        minute(at) for at in range(-50, (settled - NOON) // timedelta(minutes=1))
    ]
    assert await unfinished("btc_usd", sessions) == []


async def test_history_neither_overwrites_a_live_quote_nor_reaches_subscribers(
    source: Deribit, sessions: Sessions
) -> None:
    live = quote(at=-30, price="1.23")
    await insert(sessions, live)

    await fetch(source, sessions, [Range.HOUR])

    assert [each.price for each in await log(sessions)] == [Decimal("1.23")]
    assert len(await rows(sessions)) > 50


async def test_a_backfill_run_twice_changes_nothing(source: Deribit, sessions: Sessions) -> None:
    for _ in range(2):
        fetched = await fetch(source, sessions)
        before = await rows(sessions)

    assert sum(each.stored for each in fetched) == 0
    assert await rows(sessions) == before


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_INDEX, Fault.MAINTENANCE])
async def test_a_chart_that_cannot_be_had_is_reported_and_stays_unfinished(
    exchange: Exchange, source: Deribit, sessions: Sessions, fault: Fault
) -> None:
    exchange.faults["btc_usd"] = fault

    fetched = await fetch(source, sessions)

    assert [each.error and each.error.cause for each in fetched] == [Cause(fault)] * len(Range)
    assert await unfinished("btc_usd", sessions) == [*Range]


def test_a_point_stands_for_the_minute_that_it_lies_in_and_the_first_of_several() -> None:
    points = [
        Point(minute(0) + timedelta(seconds=at), Decimal(at + 100))
        for at in (-1, 0, 6, 59, 66, 119, 120, 180)
    ]

    found = quotes_of("btc_usd", points, "demo", Origin.REPAIRED, until=minute(3))

    assert [(each.minute, str(each.price), each.observed_at) for each in found] == [
        (minute(-1), "99", minute(0) - timedelta(seconds=1)),
        (minute(0), "100", minute(0)),
        (minute(1), "166", minute(1) + timedelta(seconds=6)),
        (minute(2), "220", minute(2)),
    ]


async def test_a_backfill_that_was_killed_ends_with_the_same_rows_when_it_is_run_again(
    exchange: Exchange, here: Settings, source: Deribit, sessions: Sessions
) -> None:
    now = datetime.now(UTC)
    exchange.clock = lambda: now
    await fetch(source, sessions, now=now)
    whole = await rows(sessions)
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("TRUNCATE quotes, hours, backfills")

    async def first_rows() -> int:
        found = len(await rows(sessions))
        if found:
            exchange.faults["btc_usd"] = Fault.TIMEOUT  # no further chart comes
        return found

    async with worker(here) as first:
        send_fill_gaps(here)
        await wait(first_rows, bool)
        first.kill()
        await first.wait()
    partly = await rows(sessions)
    exchange.faults.clear()
    async with sessions.begin() as session:
        await session.exec(update(Backfill).values(claimed_until=None))  # as minutes later
    async with worker(here):
        send_fill_gaps(here)
        await wait(lambda: unfinished("btc_usd", sessions), lambda left: not left)

    assert 0 < len(partly) < len(whole)
    again = await rows(sessions)
    assert [row for row in again if row[1] <= whole[-1][1]] == whole


async def test_a_first_start_ends_in_a_chart_of_the_whole_month(
    exchange: Exchange, here: Settings, sessions: Sessions
) -> None:
    now = datetime.now(UTC)
    exchange.clock = lambda: now
    async with worker(here), serving(here) as client:
        send_fill_gaps(here)
        for ticker in here.tickers:
            await wait(partial(unfinished, ticker, sessions), lambda left: not left)
        found = await client.data(
            """query ($from: DateTime, $to: DateTime) {
                 series(ticker: "ETH", from: $from, to: $to, maxPoints: 10000) { count times } }""",
            **{"from": (now - timedelta(days=30)).isoformat(), "to": now.isoformat()},
        )

    assert found["count"] > 1_440 + 28 * 24
    times = found["times"]
    assert max(after - before for before, after in pairwise(times)) <= 3_600


async def command(settings: Settings, *words: str, terminal: bool = False) -> tuple[int, str]:
    """`quotes backfill`: its exit status, and what it says."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "quotes", "backfill", *words),
        env=environment(settings, TERM="xterm", COLUMNS="120"),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    pending = asyncio.create_task(asyncio.to_thread(everything, ours))
    async with asyncio.timeout(60):
        status = await process.wait()
        return status, (await pending).decode()


def everything(descriptor: int) -> bytes:
    output = b""
    try:
        while part := os.read(descriptor, 4096):
            output += part
    except OSError:
        pass  # how a terminal ends
    os.close(descriptor)
    return output


@pytest.fixture
def settled(exchange: Exchange) -> None:
    """The exchange's charts end a little ago, so that each of their minutes is settled."""
    now = datetime.now(UTC) - SETTLED - timedelta(minutes=1)
    exchange.clock = lambda: now


@pytest.mark.usefixtures("settled")
async def test_the_command_says_a_line_for_each_chart(here: Settings, sessions: Sessions) -> None:
    status, output = await command(here, "BTC", "sol_usd", "--range", "1h")

    stored = len(await rows(sessions))
    assert status == 0
    assert output.splitlines() == [
        f"btc_usd 1h: 600 points, one every 6 s; {stored} quotes stored",
        f"sol_usd 1h: 600 points, one every 6 s; {stored} quotes stored",
    ]


async def test_the_command_counts_points_left_out_and_says_what_is_not_finished(
    exchange: Exchange, here: Settings, sessions: Sessions
) -> None:
    begin = int((datetime.now(UTC) - timedelta(hours=1)).timestamp())
    good = [f"[{(begin + at) * 1_000},80000.5]" for at in range(0, 1_800, 6)]
    bad = [f"[{begin + 7},80000.5]", f"[{begin * 1_000},null]", f"[{begin * 1_000},1,2]",
           f"[{begin * 1_000}.5,80000.5]"]  # fmt: skip
    exchange.charts["btc_usd"] = f"[{','.join(good + bad)}]"

    status, output = await command(here, "BTC", "--range", "1h")

    stored = await rows(sessions)
    assert status == 1
    assert output.strip() == (
        f"btc_usd 1h: 300 points, one every 6 s; {len(stored)} quotes stored; 4 points left out "
        "(1 without a price, 1 that are no pair of a time and a price, 1 without a time in whole "
        "milliseconds, 1 older than 2016); not finished, since the chart has points in 5 of 10 "
        "parts of its range only; workers fetch it again"
    )
    assert len(stored) in {30, 31}
    assert min(at for _, at, *_ in stored).timestamp() > begin - 60


async def test_the_command_mixes_no_made_up_prices_with_real_ones(
    here: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(source="deribit"))

    status, output = await command(here, "BTC", "--range", "1h")

    assert (status, "would mix" in output) == (2, True), output
    assert len(await rows(sessions)) == 1


@pytest.mark.usefixtures("settled")
async def test_on_a_terminal_the_command_shows_how_far_it_is(here: Settings) -> None:
    status, output = await command(here, "BTC", "--range", "1m", terminal=True)

    assert status == 0
    assert "btc_usd 1m: 720 points, one every 3,600 s" in output
    assert "1/1" in output


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["btc/usd"], 2, "base_quote"),
        (["BTC", "--range", "7d"], 2, "1m"),
        (["nope_usd"], 1, "no index of this name"),
    ],
)
async def test_the_command_says_what_is_wrong(
    here: Settings, words: list[str], status: int, message: str
) -> None:
    ended, output = await command(here, *words)

    assert (ended, message in output) == (status, True), output


async def test_a_chart_that_was_finished_once_stays_so(sessions: Sessions) -> None:
    for at, finished_at in ((1, minute(1)), (2, None)):
        again = Backfill(
            ticker="btc_usd",
            range=Range.HOUR,
            added_at=minute(at),
            finished_at=finished_at,
            due_at=minute(at),
        )
        async with sessions.begin() as session:
            await backfills.record(session, again)

    async with sessions() as session:
        (found,) = await backfills.of(session, ["btc_usd"])
    assert (found.added_at, found.finished_at) == (minute(1), minute(1))


@pytest.mark.usefixtures("settled")
async def test_the_command_takes_what_patterns_select_from_the_list_of_now_or_of_last_time(
    exchange: Exchange, here: Settings
) -> None:
    patterns = here.model_copy(update={"tickers": ("*_eurr",)})
    nothing = here.model_copy(update={"tickers": ("*_xyz",)})

    now = await command(patterns, "--range", "1h")
    exchange.answers["get_index_price_names"] = "null"
    later = await command(patterns, "--range", "1h")
    none = await command(nothing, "--range", "1h")

    assert [status for status, _ in (now, later, none)] == [0, 0, 2]
    for _, text in (now, later):
        assert "btc_eurr 1h: " in text
        assert "eth_eurr 1h: " in text
        assert "btc_usd" not in text
    assert "The exchange's last known list is used" in later[1]
    assert "Nothing on the exchange's list matches QUOTES_TICKERS." in none[1]
