import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime

import asyncpg
import pytest
from rows import insert, log, names, quote, until
from sqlalchemy import text

from quotes.database import connections
from quotes.database.errors import UnavailableError
from quotes.database.log import partitions, store
from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions
from quotes.live import feed, replay, tail
from quotes.live.feed import CursorLostError, Feed, open_feed
from quotes.settings import Settings


@pytest.fixture
async def running(sessions: Sessions, settings: Settings) -> AsyncIterator[Feed]:
    connect = connections.connector(settings.require_database_url(), name="feed")
    async with open_feed(sessions, connect, sessions) as (running, _):
        await running.position()
        yield running


async def take(running: Feed, count: int, *, after: int, **which: list[str]) -> list[Quote]:
    taken: list[Quote] = []
    async with asyncio.timeout(60), aclosing(running.follow(after, **which)) as quotes:
        async for each in quotes:
            taken.append(each)
            if len(taken) == count:
                break
    return taken


async def test_a_subscriber_receives_what_was_there_and_then_what_comes(
    running: Feed, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=1), quote(at=2))
    following = asyncio.create_task(take(running, 4, after=0))

    await insert(sessions, quote(at=3))
    await insert(sessions, quote(at=4))

    assert names(await following) == [("btc_usd", at) for at in (1, 2, 3, 4)]


async def test_a_subscriber_to_some_tickers_receives_only_those(
    running: Feed, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(name, at) for at in range(5) for name in ("a_usd", "b_usd")))

    taken = await take(running, 5, after=0, tickers=["b_usd"])

    assert names(taken) == [("b_usd", at) for at in range(5)]


async def test_backfilled_history_is_not_sent_to_subscribers(
    running: Feed, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at, origin=Origin.BACKFILLED) for at in range(100)))
    await insert(sessions, quote(at=200))

    assert names(await take(running, 1, after=0)) == [("btc_usd", 200)]


async def test_a_subscriber_from_before_the_tail_reads_the_table_and_then_the_tail_without_loss(
    running: Feed, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "MAX_QUOTES", 10)
    monkeypatch.setattr(replay, "PAGE", 7)
    await insert(sessions, *(quote(at=at) for at in range(100)))
    await running.reach(100)

    following = asyncio.create_task(take(running, 130, after=3))
    for at in range(100, 133):
        await insert(sessions, quote(at=at))

    assert [each.seq for each in await following] == list(range(4, 134))


async def test_a_cursor_beyond_the_end_is_refused(running: Feed, sessions: Sessions) -> None:
    await insert(sessions, quote(at=1))
    await running.reach(1)

    with pytest.raises(CursorLostError):
        await running.reach(2)


async def test_a_cursor_is_not_called_lost_while_the_log_cannot_be_read(
    running: Feed, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "TIMER", 0.05)
    async with sessions.begin() as session:
        await (await session.connection()).execute(text("LOCK TABLE quotes, high_water"))
        await store.insert(session, [quote(at=1)])
        reaching = asyncio.create_task(running.reach(1))
        await asyncio.wait({reaching}, timeout=10 * feed.TIMER)
        assert not reaching.done()

    await reaching


async def test_a_cursor_is_not_called_lost_while_the_database_is_away(
    running: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "READ_TIMEOUT", 0.5)

    class Away:
        def __call__(self) -> object:
            raise UnavailableError("away")

    monkeypatch.setattr(running, "_sessions", Away())

    with pytest.raises(UnavailableError):
        await running.reach(1)


async def test_a_subscriber_is_refused_when_the_log_goes_back(
    running: Feed, sessions: Sessions, settings: Settings
) -> None:
    await insert(sessions, quote(at=1), quote(at=2))
    await running.reach(2)
    following = asyncio.create_task(take(running, 1, after=2))
    connection = await asyncpg.connect(settings.require_database_url())

    await connection.execute("TRUNCATE quotes; UPDATE high_water SET seq = 0")

    with pytest.raises(CursorLostError):
        await following
    await connection.close()


async def test_a_log_that_is_replaced_by_a_longer_one_is_noticed(
    running: Feed, sessions: Sessions
) -> None:
    await insert(sessions, *(quote(at=at) for at in range(5)))
    await running.reach(5)
    following = asyncio.create_task(take(running, 1, after=5))

    async with sessions.begin() as session:  # as when servers are swapped between two reads
        connection = await session.connection()
        await connection.execute(text("DELETE FROM quotes WHERE seq > 3"))
        await connection.execute(text("UPDATE high_water SET seq = 3"))
        await store.insert(session, [quote(at=at, price="7") for at in range(3, 20)])

    with pytest.raises(CursorLostError):
        await following
    remembered = await take(running, 17, after=3)
    assert [str(each.price) for each in remembered] == ["7"] * 17


async def sever(settings: Settings, *, application: str) -> int:
    """End every connection of that name, as a restart or an administrator would."""
    connection = await asyncpg.connect(settings.require_database_url())
    ended = await connection.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
        application,
    )
    await connection.close()
    return len(ended)


async def test_quotes_committed_while_the_listen_connection_is_down_still_arrive(
    running: Feed, sessions: Sessions, settings: Settings
) -> None:
    await until(lambda: running.listening)
    following = asyncio.create_task(take(running, 3, after=0))

    assert await sever(settings, application="quotes-feed") == 1
    await insert(sessions, quote(at=1))
    await insert(sessions, quote(at=2), quote(at=3))

    assert [each.seq for each in await following] == [1, 2, 3]
    await until(lambda: running.listening)


async def test_without_notifications_the_timer_brings_the_quotes(
    sessions: Sessions,
) -> None:
    async def never() -> "asyncpg.Connection[asyncpg.Record]":
        raise ConnectionRefusedError

    async with open_feed(sessions, never, sessions) as (running, _):
        begin = await running.position()
        following = asyncio.create_task(take(running, 2, after=begin))
        await insert(sessions, quote(at=1), quote(at=2))

        assert len(await following) == 2
        assert not running.listening


async def test_what_subscribers_receive_equals_the_log_however_it_was_written(
    running: Feed, sessions: Sessions
) -> None:
    subscribers = [asyncio.create_task(take(running, 200, after=0)) for _ in range(20)]

    async with asyncio.TaskGroup() as writers:
        for writer in range(4):
            writers.create_task(_write_fifty(sessions, f"t{writer}_usd"))

    written = [each.seq for each in await log(sessions)]
    for subscriber in subscribers:
        assert [each.seq for each in await subscriber] == written


async def _write_fifty(sessions: Sessions, ticker: str) -> None:
    for at in range(0, 50, 2):
        await insert(sessions, quote(ticker, at), quote(ticker, at + 1))


async def test_a_feed_that_starts_before_its_database_waits_for_it(
    sessions: Sessions, settings: Settings
) -> None:
    closed = asyncio.Event()

    class Away:
        """Sessions of a database that is not up yet."""

        def __call__(self) -> object:
            if not closed.is_set():
                raise ConnectionRefusedError
            return sessions()

    connect: Callable[[], Awaitable[object]] = connections.connector(
        settings.require_database_url(), name="feed"
    )
    async with open_feed(Away(), connect, sessions) as (running, task):  # type: ignore[arg-type]
        waiting = asyncio.create_task(running.position())
        assert running.last is None

        closed.set()

        assert await waiting == 0
        assert not task.done()


async def test_a_feed_begins_with_the_newest_quotes_in_memory(
    sessions: Sessions, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "MAX_QUOTES", 10)
    await insert(sessions, *(quote(at=at) for at in range(100)))
    connect = connections.connector(settings.require_database_url(), name="feed")
    async with open_feed(sessions, connect, sessions) as (running, _):
        await running.position()
        connection = await asyncpg.connect(settings.require_database_url())
        await connection.execute("DELETE FROM quotes WHERE seq < 100")  # only memory has them
        await connection.close()

        assert [each.seq for each in await take(running, 10, after=90)] == list(range(91, 101))


async def test_nothing_is_lost_or_doubled_wherever_a_subscriber_begins_at_the_tail_s_edge(
    running: Feed, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "MAX_QUOTES", 10)
    monkeypatch.setattr(replay, "PAGE", 4)
    await insert(sessions, *(quote(at=at) for at in range(30)))
    await running.reach(30)
    subscribers = [
        asyncio.create_task(take(running, 50 - after, after=after)) for after in range(31)
    ]

    for at in range(30, 50):
        await insert(sessions, quote(at=at))

    for after, subscriber in enumerate(subscribers):
        assert [each.seq for each in await subscriber] == list(range(after + 1, 51))


async def test_a_log_of_any_length_is_replayed_with_a_bounded_number_of_quotes_in_memory(
    running: Feed, sessions: Sessions, settings: Settings
) -> None:
    async with sessions.begin() as session:
        await partitions.make(session, [datetime(2020, 1, 1, tzinfo=UTC)])
    connection = await asyncpg.connect(settings.require_database_url())
    await connection.execute(
        "INSERT INTO quotes (ticker, minute, price, observed_at, source, origin, seq) "
        "SELECT 't_usd', timestamptz '2020-01-01Z' + n * interval '1 minute', "
        "n, now(), 'demo', 'LIVE', n FROM generate_series(1, 40000) n"
    )
    await connection.execute("UPDATE high_water SET seq = 40000")
    await connection.close()
    await running.reach(40_000)
    in_the_tail = quotes_in_memory()
    seqs = []
    replayed = 0
    async with aclosing(running.follow(0)) as quotes:
        async for each in quotes:
            seqs.append(each.seq)
            if len(seqs) % 4_000 == 0:
                replayed = max(replayed, quotes_in_memory() - in_the_tail)
            if len(seqs) == 40_000:
                break

    assert seqs == list(range(1, 40_001))
    assert replayed <= (replay.MAX_PAGES + 2) * replay.PAGE


def quotes_in_memory() -> int:
    return sum(isinstance(each, Quote) for each in gc.get_objects())
