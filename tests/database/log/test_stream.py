"""The log read in pages, of all tickers or some: complete, in order, and nothing beside it read."""

import json
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rows import insert, log, minute, quote
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from versions import on_each_postgres

from quotes.database.log import partitions, runs, stream
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions, open_engine
from quotes.settings import Settings

NAMES = ["a_usd", "b_usd", "c_usd"]


# Batches of quotes: their ticker, month, minute and origin. Months and hours come in any order, so
# a quote may be years older than what was stored before it.
BATCHES = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.integers(-3, 3),
            st.sampled_from([0, 1, 59, 60, 61, 200]),
            st.sampled_from([*Origin]),
        ),
        max_size=6,
        unique_by=lambda each: each[:3],
    ),
    max_size=8,
)


EMPTIED = (
    "TRUNCATE quotes, hours, runs",
    """
    UPDATE partitions SET first_streamed = NULL, last_streamed = NULL,
                          first_backfilled = NULL, last_backfilled = NULL
    """,
)


async def store_batches(
    sessions: Sessions, batches: list[list[tuple[str, int, int, Origin]]]
) -> list[Quote]:
    """Into an empty log; what it holds then, in order, as plain Python numbers it."""
    async with sessions.begin() as session:
        connection = await session.connection()
        for statement in (*EMPTIED, "UPDATE high_water SET seq = 0"):
            await connection.exec_driver_sql(statement)
    stored = dict[tuple[str, datetime], Quote]()
    for batch in batches:
        quotes = [
            quote(name, month * 43_830 + at, origin=origin) for name, month, at, origin in batch
        ]
        await insert(sessions, *quotes)
        for each in sorted(quotes, key=lambda each: (each.minute, each.ticker)):
            if (each.ticker, each.minute) not in stored:
                each.seq = len(stored) + 1
                stored[each.ticker, each.minute] = each
    return [*stored.values()]


def keys(quotes: Iterable[Quote]) -> list[tuple[int, str, datetime]]:
    return [(each.seq, each.ticker, each.minute) for each in quotes]


@given(
    batches=BATCHES,
    wanted=st.one_of(st.none(), st.sets(st.sampled_from([*NAMES, "none_usd"]))),
    limit=st.integers(1, 9),
    share=st.integers(1, 4),
    many=st.sampled_from([1, 9]),
    ahead=st.integers(1, 3),
    after=st.integers(0, 20),
)
@hypothesis_settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_pages_hold_the_whole_log_of_their_tickers_once_and_in_order(  # noqa: PLR0913, PLR0917
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    batches: list[list[tuple[str, int, int, Origin]]],
    wanted: set[str] | None,
    limit: int,
    share: int,
    many: int,
    ahead: int,
    after: int,
) -> None:
    """From any place, where late quotes are of older months, and others are not streamed."""
    monkeypatch.setattr(runs, "LEAST_SHARE", share)
    monkeypatch.setattr(stream, "MANY", many)
    monkeypatch.setattr(stream, "AHEAD", ahead)
    stored = await store_batches(sessions, batches)

    found: list[Quote] = []
    cursor = after
    async with sessions() as session:
        book = await partitions.book(session)
        while cursor < len(stored):
            quotes, reached = await stream.page(
                session, book, after=cursor, upto=len(stored), limit=limit, tickers=wanted
            )
            assert reached > cursor
            assert len(quotes) <= limit
            found += quotes
            cursor = reached

    assert keys(found) == keys(
        each
        for each in stored
        if each.seq > after
        and each.origin is not Origin.BACKFILLED
        and (wanted is None or each.ticker in wanted)
    )


@given(
    batches=BATCHES,
    since=st.integers(0, 20),
    limit=st.integers(1, 9),
    guessed=st.integers(-5, 5),
)
@hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_news_and_ends_and_cursors_are_found_in_whatever_month_they_are(
    sessions: Sessions,
    batches: list[list[tuple[str, int, int, Origin]]],
    since: int,
    limit: int,
    guessed: int,
) -> None:
    stored = await store_batches(sessions, batches)
    streamed = [each for each in stored if each.origin is not Origin.BACKFILLED]

    async with sessions() as session:
        news = await stream.news(session, since=since, limit=limit, oldest=minute(guessed * 43_830))
        end = await stream.end(session, upto=since, limit=limit)
        whole_end = await stream.end(session, limit=limit)
        cursors = [await stream.with_seq(session, seq) for seq in range(1, len(stored) + 2)]

    new = [each for each in streamed if each.seq >= since]
    assert keys(news.quotes) == keys(new[:limit])
    assert news.last == len(stored)
    assert all(each.minute >= news.oldest for each in new)
    assert keys(end) == keys([each for each in streamed if each.seq <= since][-limit:])
    assert keys(whole_end) == keys(streamed[-limit:])
    assert keys(filter(None, cursors)) == keys(stored)


async def test_backfilled_quotes_are_in_no_page(sessions: Sessions) -> None:
    await insert(sessions, *(quote(at=at, origin=Origin.BACKFILLED) for at in range(5)))
    await insert(sessions, quote(at=10))

    async with sessions() as session:
        book = await partitions.book(session)
        for tickers in (None, ["btc_usd"]):
            quotes, _ = await stream.page(session, book, after=0, upto=6, limit=9, tickers=tickers)
            assert [each.seq for each in quotes] == [6]


@pytest.mark.parametrize("late", [0, 7, 90, 3_000])  # minutes, at most
async def test_pages_hold_the_whole_log_where_one_ticker_has_most_quotes_and_many_come_late(
    sessions: Sessions, late: int
) -> None:
    """So that a page ends where that one has its share, which is far before the others have."""
    chance = random.Random(late)  # noqa: S311  # no secret
    densities = (("often_usd", 0.9), ("b_usd", 0.06), ("c_usd", 0.06))
    quotes = [
        (at + chance.uniform(0, late), quote(ticker, at, origin=chance.choice([*Origin])))
        for ticker, density in densities
        for at in range(1_500)
        if chance.random() < density
    ]
    in_order = [each for _, each in sorted(quotes, key=itemgetter(0))]
    for start in range(0, len(in_order), 97):
        await insert(sessions, *in_order[start : start + 97])

    names = [ticker for ticker, _ in densities]
    found, cursor = list[Quote](), 0
    async with sessions() as session:
        book = await partitions.book(session)
        while cursor < book.upto:
            page, reached = await stream.page(
                session, book, after=cursor, upto=book.upto, limit=50, tickers=names
            )
            assert reached > cursor
            found, cursor = [*found, *page], reached

    assert len(found) > 900
    assert keys(found) == keys(await log(sessions))


FILL = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT name, timestamptz '2020-01-01Z' + n * interval '1 minute', n, now(), 'demo', 'LIVE', n
    FROM generate_series(1, 40000) n, LATERAL (
        SELECT CASE WHEN n > 39000 AND n % 2 = 0 THEN 'late_usd' ELSE 't' || n % 20 || '_usd' END
               AS name
    ) AS named
"""


BEFORE = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT 'late_usd', timestamptz '2020-01-01Z' + n * interval '1 minute', n, now(), 'demo',
           'LIVE', n
    FROM generate_series(1, 100) n
"""
STATISTICS = {
    "of the log as it is": [FILL, "ANALYZE"],  # as autovacuum does by itself
    "of a log that held one ticker": [BEFORE, "ANALYZE", "DELETE FROM quotes", FILL],
}


NONE = [f"none{number}_usd" for number in range(stream.MANY)]  # so that the log is looked at first


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("others", [[], ["none_usd"], ["t3_usd"], NONE])
async def test_a_replay_of_a_ticker_listed_last_reads_its_own_quotes_alone(
    settings: Settings, others: list[str], statistics: str
) -> None:
    quotes, rows_read = await filled_and_read(
        settings, STATISTICS[statistics], tickers=["late_usd", *others]
    )

    assert quotes
    assert rows_read <= 2 * (2 * 250 + runs.LEAST_SHARE)  # and those of hours that are cut


HOURLY = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT CASE WHEN n % 60 = 7 THEN 'hourly_usd' ELSE 't_usd' END,
           timestamptz '2020-01-01Z' + n * interval '1 minute', n, now(), 'demo', 'LIVE', n
    FROM generate_series(1, 40000) n
"""
# Each minute's second quote comes a week late.
LATE = """
    INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)
    SELECT 'late_usd', timestamptz '2020-01-01Z' + at * interval '1 minute', at, now(), 'demo',
           'LIVE', row_number() OVER (ORDER BY at % 2 * 10080 + at)
    FROM generate_series(1, 40000) at
"""


async def test_a_page_is_full_where_hours_have_a_quote_each(settings: Settings) -> None:
    quotes, rows_read = await filled_and_read(
        settings, [HOURLY, "ANALYZE"], tickers=["hourly_usd"], limit=50
    )

    assert len(quotes) == 50
    assert rows_read <= 4 * 50


async def test_a_page_of_quotes_that_came_late_reads_few_others(settings: Settings) -> None:
    quotes, rows_read = await filled_and_read(
        settings, [LATE, "ANALYZE"], tickers=["late_usd"], after=30_000, limit=50
    )

    assert [each.seq for each in quotes] == [*range(30_001, 30_051)]
    assert rows_read <= 50 * 60 * 2


async def filled_and_read(
    settings: Settings,
    statements: Iterable[str],
    *,
    tickers: list[str],
    after: int = 0,
    limit: int = 250,
) -> tuple[Sequence[Quote], int]:
    """A page of a log of 40,000 quotes, and how many rows were read for it."""
    async with open_engine(settings.require_database_url(), name="test") as engine:
        async with Sessions(engine).begin() as session:
            await partitions.make(session, [datetime(2020, 1, 1, tzinfo=UTC)])
        async with engine.begin() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)
            await connection.exec_driver_sql("UPDATE high_water SET seq = 40000")
        explained = Explained(engine)
        async with Sessions(engine)() as session:
            book = await partitions.book(session)
            quotes, _ = await stream.page(
                session, book, after=after, upto=40_000, limit=limit, tickers=tickers
            )
            return quotes, await explained.rows_read(session)


class Explained:
    """The last statement of an engine with its parameters, and what PostgreSQL reads for it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.statement, self.parameters = "", ()
        event.listen(engine.sync_engine, "before_cursor_execute", self._saw)

    def _saw(self, _c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        self.statement, self.parameters = statement, parameters

    async def rows_read(self, session: Any) -> int:
        connection = await session.connection()
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {self.statement}"
        found = (await connection.exec_driver_sql(explain, self.parameters)).scalar()
        plan = found if isinstance(found, list) else json.loads(found)
        return sum(_scanned(plan[0]["Plan"]))


def _scanned(plan: dict[str, Any]) -> list[int]:
    """The rows that each scan of a table or an index looked at."""
    own = []
    if plan["Node Type"].endswith("Scan") and "Relation Name" in plan:
        each = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        own = [round(each * plan["Actual Loops"])]
    return own + [rows for child in plan.get("Plans", []) for rows in _scanned(child)]


@on_each_postgres
async def test_a_page_of_tickers_is_read_on_every_postgres(sessions: Sessions) -> None:
    await insert(sessions, quote("a_usd", 1), quote("b_usd", 2))

    async with sessions() as session:
        book = await partitions.book(session)
        quotes, reached = await stream.page(
            session, book, after=0, upto=2, limit=9, tickers=["b_usd"]
        )

    assert ([each.seq for each in quotes], reached) == ([2], 2)
