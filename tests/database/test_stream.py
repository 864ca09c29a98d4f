"""The log read in pages, of all tickers or some: complete, in order, and nothing beside it read."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rows import insert, quote
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from versions import on_each_postgres

from quotes.database import stream
from quotes.database.models import Origin
from quotes.database.sessions import Sessions, open_engine
from quotes.settings import Settings

NAMES = ["a_usd", "b_usd", "c_usd"]


@given(
    runs=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 12)), max_size=8),
    wanted=st.one_of(st.none(), st.sets(st.sampled_from([*NAMES, "none_usd"]))),
    limit=st.integers(1, 9),
    share=st.integers(1, 4),
)
@hypothesis_settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_pages_hold_the_whole_log_of_their_tickers_once_and_in_order(  # noqa: PLR0913, PLR0917
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    runs: list[tuple[str, int]],
    wanted: set[str] | None,
    limit: int,
    share: int,
) -> None:
    """Also where some tickers' quotes are far apart, and others' stand close."""
    monkeypatch.setattr(stream, "LEAST_SHARE", share)
    async with sessions.begin() as session:
        for statement in ("TRUNCATE quotes, hours", "UPDATE high_water SET seq = 0"):
            await (await session.connection()).exec_driver_sql(statement)
    log: list[tuple[str, int]] = []
    for name, many in runs:
        begin = len(log)
        batch = [quote(name, at) for at in range(begin, begin + many)]
        await insert(sessions, *batch)
        log += [(name, begin + each + 1) for each in range(many)]

    found: list[tuple[str, int]] = []
    cursor = 0
    while cursor < len(log):
        async with sessions() as session:
            quotes, reached = await stream.page(
                session, after=cursor, upto=len(log), limit=limit, tickers=wanted
            )
        assert reached > cursor
        assert len(quotes) <= limit
        found += [(each.ticker, each.seq) for each in quotes]
        cursor = reached

    assert found == [each for each in log if wanted is None or each[0] in wanted]


async def test_backfilled_quotes_are_in_no_page(sessions: Sessions) -> None:
    await insert(sessions, *(quote(at=at, origin=Origin.BACKFILLED) for at in range(5)))
    await insert(sessions, quote(at=10))

    async with sessions() as session:
        for tickers in (None, ["btc_usd"]):
            quotes, _ = await stream.page(session, after=0, upto=6, limit=9, tickers=tickers)
            assert [each.seq for each in quotes] == [6]


FILL = """
    INSERT INTO quotes
    SELECT name, timestamptz '2020-01-01Z' + n * interval '1 minute', n, now(), 'demo', 'LIVE', n
    FROM generate_series(1, 60000) n, LATERAL (
        SELECT CASE WHEN n > 59000 AND n % 2 = 0 THEN 'late_usd' ELSE 't' || n % 20 || '_usd' END
               AS name
    ) AS named
"""


BEFORE = """
    INSERT INTO quotes
    SELECT 'late_usd', timestamptz '2019-01-01Z' + n * interval '1 minute', n, now(), 'demo',
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
        async with engine.begin() as connection:
            for statement in STATISTICS[statistics]:
                await connection.exec_driver_sql(statement)
            await connection.exec_driver_sql("UPDATE high_water SET seq = 60000")
        explained = Explained(engine)
        async with Sessions(engine)() as session:
            quotes, _ = await stream.page(
                session, after=0, upto=60_000, limit=250, tickers=["late_usd", *others]
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
        quotes, reached = await stream.page(session, after=0, upto=2, limit=9, tickers=["b_usd"])

    assert ([each.seq for each in quotes], reached) == ([2], 2)
