"""Where a ticker's streamed quotes are, by hours: known of each, whoever stored it."""

from datetime import datetime, timedelta
from functools import partial

from rows import NOON, insert, log, minute, quote, restore
from sqlmodel import col, select
from versions import on_each_postgres

from quotes.database.log import store
from quotes.database.maintenance import removal
from quotes.database.models import Origin, Run
from quotes.database.sessions import Sessions
from workers.history import retention

pytestmark = on_each_postgres

MONTH = 43_830  # minutes, on average


async def runs(sessions: Sessions, ticker: str = "btc_usd") -> list[tuple[int, datetime]]:
    query = select(Run.first_seq, Run.hour).where(Run.ticker == ticker).order_by(col(Run.first_seq))
    async with sessions() as session:
        return [(seq, hour) for seq, hour in (await session.exec(query)).all()]


async def test_an_hour_is_a_run_however_many_commits_it_takes(sessions: Sessions) -> None:
    await insert(sessions, *(quote(at=at) for at in range(70)))
    for at in range(70, 130):
        await insert(sessions, quote(at=at), quote("eth_usd", at=at))

    assert await runs(sessions) == [(1, minute(0)), (61, minute(60)), (171, minute(120))]
    assert await runs(sessions, "eth_usd") == [(72, minute(60)), (172, minute(120))]


async def test_a_late_quote_is_a_run_and_so_is_what_follows_it(sessions: Sessions) -> None:
    for at in (0, 60, 61, 1, 2, 62):
        await insert(sessions, quote(at=at))

    assert await runs(sessions) == [
        (1, minute(0)), (2, minute(60)), (4, minute(0)), (6, minute(60)),
    ]  # fmt: skip


async def test_what_is_not_streamed_is_in_no_run(sessions: Sessions) -> None:
    await insert(sessions, quote(at=0), quote(at=60, origin=Origin.BACKFILLED), quote(at=1))

    assert await runs(sessions) == [(1, minute(0))]


async def test_a_run_is_rolled_back_with_its_quotes(sessions: Sessions) -> None:
    async with sessions() as session:
        await store.insert(session, [quote(at=0)])
        await session.rollback()

    assert await runs(sessions) == []


async def test_quotes_stored_by_any_statement_are_replayed_by_ticker(sessions: Sessions) -> None:
    await insert(sessions, quote(at=0))

    async with sessions.begin() as session:
        await (await session.connection()).exec_driver_sql(
            "INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq)"
            " SELECT ticker, minute - n * interval '1 hour', 1, now(), source, origin, 1 + n"
            " FROM quotes, generate_series(1, 2) AS n"
        )
        await store.advance(session, 3)

    assert [each.minute for each in await log(sessions, tickers=["btc_usd"])] == [
        NOON - timedelta(hours=back) for back in range(3)
    ]


async def test_a_log_that_was_put_back_by_hand_goes_on_with_runs_of_its_own(
    sessions: Sessions,
) -> None:
    await insert(sessions, *(quote(at=60 * at) for at in range(5)))
    await restore(sessions, upto=2)

    await insert(sessions, *(quote(at=60 + at) for at in range(1, 5)))

    assert await runs(sessions) == [(1, minute(0)), (2, minute(60))]
    assert len(await log(sessions, tickers=["btc_usd"])) == 6


async def test_a_removed_ticker_leaves_no_run_and_a_cut_one_those_of_what_stays(
    sessions: Sessions,
) -> None:
    for at in (0, 60, 120, 1, 61, 121):
        await insert(sessions, quote(at=at), quote("eth_usd", at=at))

    for ticker, since, until in (("btc_usd", 30, 90), ("btc_usd", 1, 2), ("eth_usd", 0, 122)):
        piece = removal.Extent(ticker, minute(since), minute(until))
        await sessions.transact(partial(removal.remove, piece=piece))

    assert await runs(sessions) == [
        (1, minute(0)), (5, minute(120)), (7, minute(0)), (11, minute(120)),
    ]  # fmt: skip
    assert await runs(sessions, "eth_usd") == []
    await insert(sessions, quote(at=122))
    left = await log(sessions, tickers=["btc_usd", "eth_usd"])
    assert [each.minute for each in left] == [minute(at) for at in (0, 120, 121, 122)]


async def test_the_runs_of_what_is_no_longer_kept_go_with_it(sessions: Sessions) -> None:
    for at in (-3 * MONTH, 0, -3 * MONTH + 1, 1):
        await insert(sessions, quote(at=at))

    await retention.retire(sessions, 1, now=NOON)

    assert await runs(sessions) == [(2, minute(0)), (4, minute(0))]
    assert len(await log(sessions, after=3, tickers=["btc_usd"])) == 1
