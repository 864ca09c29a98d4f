"""The log read in pages, of all tickers or some: complete, in order, and nothing beside it read."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rows import insert, minute, quote
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from versions import on_each_postgres

from quotes.database.log import partitions, stream
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions, open_engine
from quotes.settings import Settings

NAMES = ["a_usd", "b_usd", "c_usd"]


# Batches of quotes: their ticker, month, minute and origin. Months come in any order, so a quote
# may be years older than what was stored before it.
BATCHES = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.integers(-3, 3),
            st.integers(0, 3),
            st.sampled_from([*Origin]),
        ),
        max_size=6,
        unique_by=lambda each: each[:3],
    ),
    max_size=8,
)


EMPTIED = (
    "TRUNCATE quotes, hours",
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
    after=st.integers(0, 20),
)
@hypothesis_settings(
    max_examples=60,
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
    after: int,
) -> None:
    """From any place, where late quotes are of older months, and others are not streamed."""
    monkeypatch.setattr(stream, "LEAST_SHARE", share)
    log = await store_batches(sessions, batches)

    found: list[Quote] = []
    cursor = after
    async with sessions() as session:
        book = await partitions.book(session)
        while cursor < len(log):
            quotes, reached = await stream.page(
                session, book, after=cursor, upto=len(log), limit=limit, tickers=wanted
            )
            assert reached > cursor
            assert len(quotes) <= limit
            found += quotes
            cursor = reached

    assert keys(found) == keys(
        each
        for each in log
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
    log = await store_batches(sessions, batches)
    streamed = [each for each in log if each.origin is not Origin.BACKFILLED]

    async with sessions() as session:
        news = await stream.news(session, since=since, limit=limit, oldest=minute(guessed * 43_830))
        end = await stream.end(session, upto=since, limit=limit)
        whole_end = await stream.end(session, limit=limit)
        cursors = [await stream.with_seq(session, seq) for seq in range(1, len(log) + 2)]

    new = [each for each in streamed if each.seq >= since]
    assert keys(news.quotes) == keys(new[:limit])
    assert news.last == len(log)
    assert all(each.minute >= news.oldest for each in new)
    assert keys(end) == keys([each for each in streamed if each.seq <= since][-limit:])
    assert keys(whole_end) == keys(streamed[-limit:])
    assert keys(filter(None, cursors)) == keys(log)


async def test_backfilled_quotes_are_in_no_page(sessions: Sessions) -> None:
    await insert(sessions, *(quote(at=at, origin=Origin.BACKFILLED) for at in range(5)))
    await insert(sessions, quote(at=10))

    async with sessions() as session:
        book = await partitions.book(session)
        for tickers in (None, ["btc_usd"]):
            quotes, _ = await stream.page(session, book, after=0, upto=6, limit=9, tickers=tickers)
            assert [each.seq for each in quotes] == [6]


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
    "of the log as it is": [FILL, "ANALYZE quotes"],  # as autovacuum does by itself
    "of a log that held one ticker": [BEFORE, "ANALYZE quotes", "DELETE FROM quotes", FILL],
}


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("others", [[], ["none_usd"], ["t3_usd"]])
async def test_a_replay_of_a_ticker_listed_last_reads_its_own_quotes_alone(
    settings: Settings, others: list[str], statistics: str
) -> None:
    async with open_engine(settings.require_database_url(), name="test") as engine:
        async with Sessions(engine).begin() as session:
            await partitions.make(session, [datetime(2020, 1, 1, tzinfo=UTC)])
        async with engine.begin() as connection:
            for statement in STATISTICS[statistics]:
                await connection.exec_driver_sql(statement)
            await connection.exec_driver_sql("UPDATE high_water SET seq = 40000")
        explained = Explained(engine)
        async with Sessions(engine)() as session:
            book = await partitions.book(session)
            quotes, _ = await stream.page(
                session, book, after=0, upto=40_000, limit=250, tickers=["late_usd", *others]
            )
            rows_read = await explained.rows_read(session)

    assert quotes
    assert rows_read <= 2 * 250 + stream.LEAST_SHARE


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
