"""What is removed is gone from every table, and whatever stays equals plain Python."""

import asyncio
import sys
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from client import serving
from processes import environment
from rollups import as_rows, expected_hours, random_quotes, stored_hours
from rows import NOON, insert, minute, quote, wait
from sqlmodel import col, select, update
from versions import on_each_postgres

from quotes.database import backfills, minutes
from quotes.database.maintenance import removal
from quotes.database.models import Failure, Hour, Quote
from quotes.database.sessions import Sessions
from quotes.settings import Settings

pytestmark = on_each_postgres


async def stored(sessions: Sessions) -> set[tuple[str, datetime]]:
    async with sessions() as session:
        return {(each.ticker, each.minute) for each in (await session.exec(select(Quote))).all()}


async def remove(sessions: Sessions, piece: removal.Extent) -> int:
    return sum(
        [await sessions.transact(partial(removal.remove, piece=each)) for each in piece.chunks()]
    )


@pytest.mark.parametrize(
    ("since", "until"),
    [(-2_000, 2_000), (-600, 600), (-601, 7), (0, 1), (30, 31), (-59, 61), (1_430, 1_440)],
)
async def test_what_stays_after_a_removal_equals_what_plain_python_computes(
    sessions: Sessions, since: int, until: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "CHUNK", timedelta(hours=5))
    quotes = random_quotes(seed=3)
    for start in range(0, len(quotes), 2_000):
        await insert(sessions, *quotes[start : start + 2_000])
    begin, end = minute(since), minute(until)
    stay = [each for each in quotes if each.ticker != "btc_usd" or not begin <= each.minute < end]

    removed = await remove(sessions, removal.Extent("btc_usd", begin, end))

    assert removed == len(quotes) - len(stay)
    assert await stored(sessions) == {(each.ticker, each.minute) for each in stay}
    assert as_rows(await stored_hours(sessions)) == expected_hours(stay)


async def test_failures_of_the_range_are_removed_and_others_stay(sessions: Sessions) -> None:
    for ticker, at in (("btc_usd", 1), ("btc_usd", 2), ("eth_usd", 1)):
        failure = Failure(
            ticker=ticker,
            minute=minute(at),
            cause="TIMEOUT",
            message="It did not answer.",
            failed_at=minute(at),
            attempts=1,
        )
        await sessions.transact(partial(minutes.record_failures, failures=[failure]))

    await remove(sessions, removal.Extent("btc_usd", minute(0), minute(2)))

    async with sessions() as session:
        left = (await session.exec(select(Failure))).all()
    assert {(each.ticker, each.minute) for each in left} == {
        ("btc_usd", minute(2)),
        ("eth_usd", minute(1)),
    }


async def test_a_removal_beside_writers_leaves_the_rollup_right(sessions: Sessions) -> None:
    quotes = [quote(at=at) for at in range(-300, 0)]
    await insert(sessions, *quotes)
    new = [quote(at=at) for at in range(60)]

    async def write(each: int) -> None:
        for one in new[each::6]:
            await insert(sessions, one)

    await asyncio.gather(
        remove(sessions, removal.Extent("btc_usd", minute(-250), minute(-10))),
        *map(write, range(6)),
    )

    stay = [each for each in quotes if not minute(-250) <= each.minute < minute(-10)]
    assert as_rows(await stored_hours(sessions)) == expected_hours([*stay, *new])


async def command(settings: Settings, *words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "quotes", *words),
        env=environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode().strip()


async def hours_of(sessions: Sessions) -> Collection[str]:
    async with sessions() as session:
        return {each.ticker for each in (await session.exec(select(Hour))).all()}


async def test_forget_removes_a_ticker_from_every_table_and_asks_first(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(
        sessions, *(quote(name, at) for name in ("btc_usd", "eth_usd") for at in range(90))
    )
    await sessions.transact(partial(backfills.add, tickers=["btc_usd", "eth_usd"], now=NOON))

    unconfirmed = await command(settings, "forget", "BTC")
    before = await stored(sessions)
    done = await command(settings, "forget", "BTC", "--yes")

    assert unconfirmed == (1, "Nothing was removed. Confirm with y, or with --yes.")
    assert len(before) == 180
    assert done == (0, "90 quotes of btc_usd were removed.")
    assert {ticker for ticker, _ in await stored(sessions)} == {"eth_usd"}
    assert await hours_of(sessions) == {"eth_usd"}
    async with sessions() as session:
        left = await backfills.of(session, ["btc_usd", "eth_usd"])
    assert {each.ticker for each in left} == {"eth_usd"}


async def test_rebuild_corrects_what_was_changed_by_hand(
    settings: Settings, sessions: Sessions
) -> None:
    quotes = random_quotes(seed=4)[:1_500]
    await insert(sessions, *quotes, quote("gone_usd", at=5))
    stay = [each for each in quotes if each.minute.hour % 3 and each.minute.minute != 7]
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "DELETE FROM quotes WHERE extract(minute FROM minute) = 7 "
            "OR extract(hour FROM minute)::int % 3 = 0 OR ticker = 'gone_usd'"
        )
        await session.exec(
            update(Quote).where(col(Quote.minute) == stay[0].minute).values(price=12345)
        )
    for each in stay:
        each.price = type(each.price)(12345) if each.minute == stay[0].minute else each.price

    assert await command(settings, "rebuild") == (0, "The hours of 3 tickers were rolled up anew.")

    assert as_rows(await stored_hours(sessions)) == expected_hours(stay)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["forget", "btc/usd", "--yes"], "base_quote"),
        (["forget", "BTC", "--yes", "--from", "yesterday"], "is no time"),
        (["forget", "BTC", "--yes", "--from", "2026-01-01T00:00:00"], "no time zone"),
        (
            ["forget", "BTC", "--yes", "--from", "2026-01-02T00:00Z", "--to", "2026-01-01T00:00Z"],
            "earlier",
        ),
        (["rebuild", "a b"], "base_quote"),
    ],
)
async def test_what_cannot_be_meant_is_refused_in_a_sentence(
    settings: Settings, words: list[str], message: str
) -> None:
    status, output = await command(settings, *words)

    assert (status, message in output, "Traceback" in output) == (2, True, False), output


async def test_the_stream_and_queries_go_on_over_what_was_removed(
    settings: Settings, sessions: Sessions
) -> None:
    begin = (datetime.now(UTC) - NOON) // timedelta(minutes=1) - 100
    await insert(sessions, *(quote(at=begin + at) for at in range(50)))
    history = """{ candles(ticker: "BTC", interval: "1d") { count }
                   series(ticker: "BTC", maxPoints: 100) { count } }"""
    stream = "subscription ($after: String) { priceUpdates(after: $after) { at cursor } }"

    async with serving(settings) as client, client.subscription(stream) as updates:
        await updates.next()
        before = await client.data(history)
        await remove(sessions, removal.Extent("btc_usd", minute(begin + 10), minute(begin + 30)))
        after = await wait(
            lambda: client.data(history), lambda found: found["series"]["count"] == 30
        )
        await insert(sessions, quote(at=begin + 60))
        live = await updates.next()
    async with serving(settings) as client, client.subscription(stream, after="s0") as replay:
        replayed = [await replay.next() for _ in range(31)]

    assert sum(each["count"] for each in before["candles"]) == 50
    assert sum(each["count"] for each in after["candles"]) == 30
    assert live == replayed[-1]
    assert len({each["cursor"] for each in replayed}) == 31
