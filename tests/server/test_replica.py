"""A standby is read in place of the primary, and no answer is older for it."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from client import Client, Subscription, connected, serving
from pooler import needs_pgbouncer, pooling
from processes import Api, free_port
from prometheus_client import generate_latest
from rows import cursor, failure, insert, quote, record, restore, until, wait
from scrape import Scrape
from sqlalchemy import text
from standby import Standby, with_replica, with_standby
from structlog.testing import capture_logs

from quotes import metrics
from quotes.api.plans.steps import OF_THE_LOG
from quotes.api.schema import schema
from quotes.database.models import Quote
from quotes.database.sessions import Sessions
from quotes.live import replica, tail
from quotes.live.newest import BOUND
from quotes.settings import Settings

pytestmark = with_standby

# Of each field that the standby is read for, a query whose answer shows the newest quote.
QUERIES = {
    "candles": '{ candles(ticker: "btc_usd", interval: "1d", to: "2026-02-01T00:00Z") { high } }',
    "change": '{ change(ticker: "btc_usd", window: "1m") { latest { price } } }',
    "gaps": '{ gaps(ticker: "btc_usd", from: "2026-01-31T12:00Z") { present } }',
    "priceAt": '{ priceAt(ticker: "btc_usd", at: "2026-02-28T00:00Z") { price } }',
    "prices": '{ prices(ticker: "btc_usd", last: 1) { nodes { price } } }',
    "series": '{ series(ticker: "btc_usd") { prices } }',
    "sparklines": '{ sparklines(tickers: ["btc_usd"]) { prices } }',
}
PRICES = QUERIES["prices"]
FIELD = "pageInfo { startCursor }"
QUERY: Any = schema._schema.query_type
UPDATES = "subscription ($after: String) { priceUpdates(after: $after) { price } }"


def priced(number: int) -> Quote:
    """The quote with that seq, where quotes are stored one after another from 1 on."""
    return quote(at=number - 1, price=f"{1000 + number}.5")


def shows(field: str, answer: Any, number: int) -> bool:
    if field == "gaps":
        return bool(answer["present"] == number)
    return f'"{1000 + number}.5"' in json.dumps(answer)


def reads(server: str) -> float:
    (family,) = metrics.REPLICA_READS.collect()
    return sum(
        sample.value
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["server"] == server
    )


@pytest.fixture
async def client(settings: Settings, standby: Standby) -> AsyncIterator[Client]:
    async with serving(with_replica(settings, standby.url)) as client:
        await until_serving(client)
        await in_use(client)
        yield client


async def state(client: Client) -> dict[str, Any]:
    status, report = await client.report("/readyz")
    assert status == 200, report
    return dict(report["replica"])


async def in_use(client: Client) -> None:
    await wait(lambda: state(client), lambda found: found["usable"])


async def refused(client: Client) -> str:
    """Why it is not used, once it is not."""
    found = await wait(lambda: state(client), lambda found: not found["ok"])
    assert not found["usable"]
    return str(found["reason"])


async def is_read(client: Client) -> None:
    """Wait until a new answer comes from the standby."""
    sizes = iter(range(1, 10_000))  # no question is asked twice, so none is answered from the cache

    async def rose() -> bool:
        before = reads("replica")
        await client.data(f'{{ prices(ticker: "btc_usd", first: {next(sizes)}) {{ {FIELD} }} }}')
        return reads("replica") > before

    await wait(rose, bool)


@pytest.mark.usefixtures("database_url")  # which this file's mark names
def test_each_field_is_read_from_the_standby_or_rests_on_more_than_the_log() -> None:
    elsewhere = {"constituents", "latestPrice", "latestPrices", "tickers"}

    assert QUERIES.keys() == OF_THE_LOG
    assert OF_THE_LOG | elsewhere == set(QUERY.fields)


async def test_no_answer_is_older_than_what_was_delivered_while_the_standby_stands_still(
    client: Client, standby: Standby, sessions: Sessions
) -> None:
    await insert(sessions, priced(1))
    async with client.subscription(UPDATES) as updates:
        await updates.next()
        for number, (field, query) in enumerate(QUERIES.items(), 1):
            seq = 3 * number - 1
            await standby.pause()
            for each in (seq, seq + 1):
                await insert(sessions, priced(each))
                await updates.next()
                before = reads("replica")
                assert shows(field, await client.data(query), each), field
                assert reads("replica") == before, field

            await standby.resume()
            await insert(sessions, priced(seq + 2))
            await updates.next()
            await in_use(client)
            assert shows(field, await client.data(query), seq + 2), field
            assert reads("replica") == before + 1, field


async def follow(client: Client, updates: Subscription, count: int) -> None:
    """Assert that what is asked with each quote's arrival holds that quote."""
    for number in range(2, count + 1):
        await updates.next()
        answers = await asyncio.gather(*map(client.data, QUERIES.values()))
        for field, answer in zip(QUERIES, answers, strict=True):
            assert any(shows(field, answer, later) for later in range(number, count + 1)), field


async def test_no_answer_of_two_processes_is_older_than_what_each_has_delivered(
    settings: Settings, standby: Standby, sessions: Sessions
) -> None:
    await insert(sessions, priced(1))
    async with AsyncExitStack() as stack:
        followers = []
        for _ in range(2):
            api = Api(settings, free_port(), QUOTES_REPLICA_URL=standby.url)
            await api.start()
            stack.push_async_callback(api.end)
            client = await stack.enter_async_context(connected(f"http://127.0.0.1:{api.port}"))
            await until_serving(client)
            await in_use(client)
            updates = await stack.enter_async_context(client.subscription(UPDATES))
            await updates.next()
            followers.append(asyncio.create_task(follow(client, updates, 40)))

        for number in range(2, 41):
            if number % 10 == 5:
                await standby.pause()
            if number % 10 == 0:
                await standby.resume()
            await insert(sessions, priced(number))
        async with asyncio.timeout(60):
            await asyncio.gather(*followers)
        assert await standby.fetch(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'quotes-api'"
        )


async def until_serving(client: Client) -> None:
    async def answers() -> bool:
        try:
            return (await client.report("/readyz"))[0] == 200
        except OSError:
            return False

    await wait(answers, bool)


async def test_a_connection_to_another_standby_than_was_looked_at_proves_what_it_has(
    client: Client, standby: Standby, sessions: Sessions
) -> None:
    await insert(sessions, priced(1))
    await is_read(client)
    found = client.state.context.replica
    await standby.pause()
    await insert(sessions, priced(2))
    await until(lambda: client.state.context.feed.last == 2)

    found._reached = client.state.context.feed.tail.place

    assert shows("prices", await client.data(PRICES), 2)
    found._reached = client.state.context.feed.tail.place
    assert shows("candles", await client.data(QUERIES["candles"]), 2)
    found._reached = client.state.context.feed.tail.place
    quotes, reached = await client.state.context.feed.replays.page(0, 2, None)
    assert ([each.seq for each in quotes], reached) == ([1, 2], 2)


async def test_the_standby_is_not_read_while_the_feed_cannot_tell_what_is_needed(
    client: Client, standby: Standby, sessions: Sessions, settings: Settings
) -> None:
    await insert(sessions, priced(1))
    await is_read(client)
    await standby.pause()
    reader = "SELECT pid FROM pg_stat_activity WHERE application_name = 'quotes-live'"
    primary = await asyncpg.connect(settings.require_database_url())
    pid = await primary.fetchval(reader)
    await primary.close()

    os.kill(pid, signal.SIGSTOP)
    try:
        await insert(sessions, priced(2))
        feed = client.state.context.feed
        await until(lambda: not feed.is_current(BOUND))  # until then it may be missing
        assert feed.last == 1
        for field, query in QUERIES.items():
            assert shows(field, await client.data(query), 2), field
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_standby_that_falls_silent_or_dies_delays_an_answer_and_fails_none(
    client: Client, standby: Standby, sessions: Sessions
) -> None:
    await insert(sessions, priced(1))
    await is_read(client)

    await standby.freeze()
    assert shows("prices", await client.data(PRICES), 1)
    assert await refused(client) == "it cannot be reached"
    standby.thaw()
    await is_read(client)

    await standby.freeze()
    asked = asyncio.create_task(client.data(QUERIES["candles"]))
    await until(lambda: client.state.streams.admission.running == 1)
    await standby.crash()
    assert shows("candles", await asked, 1)
    assert await refused(client) == "it cannot be reached"
    await standby.start()
    await is_read(client)


async def test_a_query_that_replay_cancels_is_read_from_the_primary(
    client: Client,
    standby: Standby,
    sessions: Sessions,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica, "PATIENCE", 60)
    await insert(sessions, priced(1), priced(2))
    await standby.fetch("ALTER SYSTEM SET max_standby_streaming_delay = 0")
    await standby.fetch("SELECT pg_reload_conf()")
    await is_read(client)
    found = client.state.context.replica
    running = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"

    async def vacuum() -> None:
        await wait(lambda: standby.fetch(running), bool)
        primary = await asyncpg.connect(settings.require_database_url())
        await primary.execute("DELETE FROM quotes WHERE seq = 1")
        await primary.execute("VACUUM quotes")
        await primary.close()

    async def cancelled() -> str:
        async with found.sessions() as session:
            connection = await session.connection()
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            vacuumed = asyncio.create_task(vacuum())
            await connection.execute(text("SELECT pg_sleep(60)"))
            await vacuumed
        return "the standby"

    async def read() -> str:
        return "the primary"

    with capture_logs() as written:
        assert await found.read(cancelled, read) == "the primary"

    (failed,) = (each for each in written if each["event"] == "replica_read_failed")
    assert "conflict with recovery" in failed["reason"]
    await is_read(client)


async def test_a_standby_that_was_promoted_is_told_and_never_read(
    client: Client, standby: Standby, sessions: Sessions
) -> None:
    await insert(sessions, priced(1))
    await is_read(client)
    found = client.state.context.replica

    async def promoted() -> str:
        async with found.queries.acquire(timeout=60) as connection:
            await standby.fetch("SELECT pg_promote()")
            await standby.fetch("DELETE FROM quotes")
            return str(await connection.fetchval("SELECT count(*) FROM quotes"))

    async def read() -> str:
        return "the primary"

    with capture_logs() as written:
        assert await found.read(promoted, read) == "the primary"
        assert "accepts writes" in await refused(client)

    assert {each["subject"] for each in written if each["event"] == "database_refused"} == {
        "replica"
    }
    await insert(sessions, priced(2))
    for field, query in QUERIES.items():
        assert shows(field, await client.data(query), 2), field


@needs_pgbouncer
async def test_a_promotion_that_a_pooler_hides_is_noticed_at_the_next_look(
    settings: Settings, sessions: Sessions, standby: Standby, folder: Path
) -> None:
    await insert(sessions, priced(1))
    parameters = ("idle_in_transaction_session_timeout", "enable_incremental_sort", "jit")
    settings_of_ours = (
        *("statement_timeout", "default_transaction_isolation", "plan_cache_mode", *parameters),
        *("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"),
        "tcp_user_timeout",
    )
    async with (
        pooling(standby.url, folder, "session", ",".join(settings_of_ours)) as url,
        serving(with_replica(settings, url)) as client,
    ):
        await until_serving(client)
        await is_read(client)

        await standby.fetch("SELECT pg_promote()")

        assert "accepts writes" in await refused(client)


async def test_a_standby_with_another_log_is_not_read(
    client: Client, standby: Standby, sessions: Sessions
) -> None:
    await insert(sessions, priced(1), priced(2))
    await is_read(client)
    await standby.pause()

    await restore(sessions, upto=1)
    await insert(sessions, quote(at=1, price="3.5"))

    assert "another database" in await refused(client)
    assert await client.data(PRICES) == {"nodes": [{"price": "3.5"}]}
    await standby.resume()
    await is_read(client)


@pytest.mark.parametrize(
    ("url", "reason"),
    [(None, "accepts writes"), ("postgresql://nobody@127.0.0.1:1/none", "it cannot be reached")],
)
async def test_a_process_serves_without_a_usable_standby_and_says_why(
    settings: Settings, sessions: Sessions, url: str | None, reason: str
) -> None:
    await insert(sessions, priced(1))
    async with serving(with_replica(settings, url or settings.require_database_url())) as client:
        await until_serving(client)
        before = reads("primary")

        assert reason in await refused(client)
        assert shows("prices", await client.data(PRICES), 1)
        assert reads("primary") == before + 1


async def test_a_standby_with_the_tables_of_another_release_is_not_read(
    client: Client, sessions: Sessions, settings: Settings
) -> None:
    await insert(sessions, priced(1))
    await is_read(client)
    primary = await asyncpg.connect(settings.require_database_url())
    head = await primary.fetchval("SELECT version_num FROM alembic_version")
    try:
        await primary.execute("UPDATE alembic_version SET version_num = '0001'")

        async def reason() -> str:
            _, report = await client.report("/readyz")
            return str(report["replica"].get("reason"))

        assert "0001" in await wait(reason, lambda found: found != "None")
    finally:
        await primary.execute("UPDATE alembic_version SET version_num = $1", head)
        await primary.close()


async def test_what_has_no_seq_is_read_from_the_primary(
    client: Client, standby: Standby, sessions: Sessions
) -> None:
    await insert(sessions, quote("eth_usd", 0), quote("eth_usd", 5))
    await in_use(client)
    await standby.pause()
    await record(sessions, failure("TIMEOUT"))
    before = reads("replica")

    gaps = await client.data(
        '{ gaps(ticker: "eth_usd", to: "2026-01-31T12:06Z") { nodes { cause } } }'
    )

    assert gaps == {"nodes": [{"cause": "TIMEOUT"}]}
    assert reads("replica") == before + 1


async def test_a_subscriber_far_behind_is_sent_pages_of_the_standby_and_misses_nothing(
    settings: Settings,
    standby: Standby,
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tail, "MAX_QUOTES", 10)
    numbers = range(1, 201)
    await insert(sessions, *map(priced, numbers))
    async with serving(with_replica(settings, standby.url)) as client:
        await until_serving(client)
        await in_use(client)
        before = reads("replica")

        async with client.subscription(UPDATES, after=cursor(1, priced(1))) as updates:
            for number in numbers[1:]:
                assert shows("", await updates.next(), number)
        assert reads("replica") - before == 4

        await standby.pause()
        await insert(sessions, *map(priced, range(201, 301)))
        await until(lambda: client.state.context.feed.last == 300)
        async with client.subscription(UPDATES, after=cursor(190, priced(190))) as updates:
            for number in range(191, 301):
                assert shows("", await updates.next(), number)
        assert reads("replica") - before == 4


async def test_without_a_standby_nothing_is_said_of_one(settings: Settings) -> None:
    async with serving(settings) as client:
        await until_serving(client)
        _, report = await client.report("/readyz")

    assert "replica" not in report


async def test_the_metrics_show_the_lag_and_which_share_the_standby_takes(
    client: Client, standby: Standby, sessions: Sessions
) -> None:
    def scraped() -> Scrape:
        return Scrape(
            generate_latest(
                metrics.registry(metrics.Process.API, client.server.collector())
            ).decode()
        )

    await insert(sessions, priced(1))
    await is_read(client)
    before = scraped()
    assert (before("quotes_replica_usable"), before("quotes_replica_lag_seconds")) == (1, 0)

    await standby.pause()
    await insert(sessions, priced(2))
    await until(lambda: scraped()("quotes_replica_lag_seconds") > 0)
    await client.data(PRICES)
    after = scraped()

    assert after("quotes_replica_usable") == 0
    primary = {"server": "primary"}
    assert after("quotes_replica_reads_total", **primary) == 1 + before(
        "quotes_replica_reads_total", **primary
    )
    assert before("quotes_replica_reads_total", server="replica") >= 1
