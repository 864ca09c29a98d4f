"""What `gaps` answers, and the gaps themselves."""

from collections.abc import AsyncIterator
from uuid import uuid4

import plain
import pytest
from client import Client, serving
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rows import insert, minute, quote, record

from quotes.api.history import gaps
from quotes.database.log import store
from quotes.database.models import Failure, Origin
from quotes.database.queries import history
from quotes.database.sessions import Sessions
from quotes.live.thread import Thread
from quotes.market import coverage
from quotes.settings import Settings


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


async def test_gaps_have_their_bounds_their_cause_and_whether_they_were_repaired(
    client: Client, sessions: Sessions
) -> None:
    failed = ((2, "TIMEOUT"), (3, "TIMEOUT"), (8, "MAINTENANCE"))
    await record(sessions, *(failure(at, cause) for at, cause in failed))
    await insert(sessions, *(quote(at=at) for at in (0, 1, 6)))
    await insert(sessions, *(quote(at=at, origin=Origin.REPAIRED) for at in (2, 3)))

    shown = await client.data(
        """{ gaps(ticker: "BTC", to: "2026-01-31T12:09:00Z") {
               from to expected present missing repaired coverage more
               nodes { from to minutes cause repaired } } }"""
    )

    nodes = shown.pop("nodes")
    assert shown == {
        "from": "2026-01-31T12:00:00Z",
        "to": "2026-01-31T12:09:00Z",
        "expected": 9,
        "present": 5,
        "missing": 4,
        "repaired": 2,
        "coverage": 5 / 9,
        "more": False,
    }
    assert [
        (each["from"][14:16], each["to"][14:16], each["minutes"], each["cause"], each["repaired"])
        for each in nodes
    ] == [
        ("02", "04", 2, "TIMEOUT", True),
        ("04", "06", 2, "NOT_ASKED", False),
        ("07", "09", 2, "MAINTENANCE", False),
    ]


async def test_gaps_come_a_page_at_a_time(client: Client, sessions: Sessions) -> None:
    await insert(sessions, *(quote(at=at) for at in range(0, 10, 2)))
    ask = """query ($from: DateTime) {
        gaps(ticker: "BTC", from: $from, to: "2026-01-31T12:09:00Z", first: 3) {
            more nodes { from to } } }"""

    first = await client.data(ask)
    rest = await client.data(ask, **{"from": first["nodes"][-1]["to"]})

    assert (first["more"], rest["more"]) == (True, False)
    assert [each["from"][14:16] for each in first["nodes"] + rest["nodes"]] == [
        "01",
        "03",
        "05",
        "07",
    ]


def failure(at: int, cause: str) -> Failure:
    return Failure(
        ticker="btc_usd",
        minute=minute(at),
        cause=cause,
        message="It failed.",
        failed_at=minute(at),
        attempts=1,
    )


@given(
    present=st.sets(st.integers(0, 400)), since=st.integers(-90, 400), length=st.integers(1, 200)
)
@hypothesis_settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_gaps_read_from_hours_are_the_minutes_that_are_missing(
    sessions: Sessions, present: set[int], since: int, length: int
) -> None:
    ticker = f"t{uuid4().hex[:8]}_usd"
    await insert(sessions, *(quote(ticker, at) for at in present))
    begin, end = minute(since), minute(since + length)

    async with sessions() as session:
        found = coverage.gaps(
            await history.incomplete_hours(session, ticker, begin, end), begin, end
        )

    expected = plain.gaps((minute(at) for at in present), begin, end)
    assert [(gap.since, gap.until) for gap in found] == expected


@given(
    repaired=st.sets(st.integers(0, 600)),
    missing=st.sets(st.integers(0, 600)),
    most=st.integers(1, 5),
)
# The second gap goes on beyond the five hours that are read for the first page.
@example(repaired=set(range(100, 340)), missing={59}, most=2)
@hypothesis_settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_pages_of_gaps_hold_what_one_page_does_however_few_hours_are_read(
    sessions: Sessions, repaired: set[int], missing: set[int], most: int
) -> None:
    ticker, thread = f"t{uuid4().hex[:8]}_usd", Thread()
    origins = {at: Origin.REPAIRED if at in repaired else Origin.LIVE for at in range(600)}
    present = [at for at in origins if at not in missing]
    await insert(sessions, *(quote(ticker, at, origin=origins[at]) for at in present))
    span = store.Span(ticker, minute(5), minute(590))

    whole = await gaps.read(sessions, thread, span, 5_000, minute(700))
    pages, more = [], True
    while more:
        page = await gaps.read(sessions, thread, span, most, minute(700), more_hours=1)
        pages += page.nodes
        more = page.more
        span = store.Span(ticker, page.nodes[-1].until, span.until) if more else span

    assert pages == whole.nodes
    within = [at for at in present if 5 <= at < 590]
    assert whole.present == len(within)
    assert whole.repaired == sum(at in repaired for at in within)
