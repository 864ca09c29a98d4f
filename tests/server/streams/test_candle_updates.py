"""Candles as they grow."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from client import Client, serving
from rows import NOON, insert, minute, quote, restore, until

from quotes.database.sessions import Sessions
from quotes.live import candle_log
from quotes.market.coverage import MINUTE
from quotes.settings import Settings

UPDATES = """
    subscription ($interval: Interval!) {
      candleUpdates(ticker: "BTC", interval: $interval) {
        openTime open high low close count complete
      }
    }
"""


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


def hour_to_come() -> int:
    """A whole hour that has not begun yet, in minutes after noon; so no clock ends its candles."""
    now = datetime.now(UTC)
    return (now.replace(minute=0, second=0, microsecond=0) - NOON) // MINUTE + 120


async def test_a_candle_grows_with_each_quote_and_is_complete_once(
    client: Client, sessions: Sessions
) -> None:
    begin = hour_to_come()
    async with client.subscription(UPDATES, interval="5m") as updates:
        updates_received: list[dict[str, Any]] = []
        for at, price in ((0, "10"), (2, "12"), (1, "8"), (4, "11"), (5, "20"), (3, "99"),
                          (10, "30"), (11, "31")):  # fmt: skip
            await insert(sessions, quote(at=begin + at, price=price))
        while not updates_received or updates_received[-1]["close"] != "31":
            updates_received.append(await updates.next())

    opened = {(NOON + (begin + at) * MINUTE).isoformat()[:16]: at for at in (0, 5, 10)}
    shown = [
        (opened[each["openTime"][:16]], each["open"], each["high"], each["low"], each["close"],
         each["count"], each["complete"])
        for each in updates_received
    ]  # fmt: skip
    complete = [each for each in shown if each[-1]]
    # Each is read anew, so an update may show already what the next one is about.
    assert [each[0] for each in shown] == sorted(each[0] for each in shown)
    assert [each[0] for each in complete] == [0, 5]
    assert complete[1] == (5, "20", "20", "20", "20", 1, True)
    assert shown[-1] == (10, "30", "31", "30", "31", 2, False)


async def test_a_candle_is_complete_by_the_clock_where_no_quote_follows(
    client: Client, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candle_log, "GRACE", -MINUTE)  # over at once
    await insert(sessions, quote(at=(datetime.now(UTC) - NOON) // MINUTE))

    async with client.subscription(UPDATES, interval="1m") as updates:
        updates_received = [await updates.next()]
        while not updates_received[-1]["complete"]:
            updates_received.append(await updates.next())

    assert len(updates_received) > 1
    assert {each["openTime"] for each in updates_received} == {updates_received[0]["openTime"]}


async def test_the_open_candle_is_sent_first(client: Client, sessions: Sessions) -> None:
    now = (datetime.now(UTC) - NOON) // MINUTE
    await insert(sessions, quote(at=now, price="10"))

    async with client.subscription(UPDATES, interval="1mo") as updates:
        updates_received = await updates.next()

    assert (updates_received["close"], updates_received["complete"]) == ("10", False)


async def test_a_later_subscriber_is_sent_the_coverage_as_of_then(
    client: Client, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = 'subscription { candleUpdates(ticker: "BTC", interval: "1h") { coverage } }'
    await insert(sessions, quote(at=0))
    for minutes in (4, 40):  # and no commit in between
        monkeypatch.setattr(candle_log, "now", partial(minute, minutes))
        async with client.subscription(query) as updates:
            assert await updates.next() == {"coverage": 1 / minutes}


async def test_a_candle_goes_on_growing_over_a_restore_of_an_older_copy(
    client: Client, sessions: Sessions
) -> None:
    begin = hour_to_come()
    async with client.subscription(UPDATES, interval="1h") as updates:
        for at in range(3):
            await insert(sessions, quote(at=begin + at, price="10"))
        while (await updates.next())["count"] != 3:
            pass
        await restore(sessions, upto=1)
        await until(lambda: client.state.context.feed.last == 1)
        await insert(sessions, quote(at=begin + 5, price="20"))
        while (await updates.next())["close"] != "20":
            pass


async def test_closing_the_socket_ends_the_subscription(client: Client, sessions: Sessions) -> None:
    before = len(asyncio.all_tasks())
    async with client.subscription(UPDATES, interval="1h") as updates:
        await insert(sessions, quote(at=hour_to_come()))
        await updates.next()

    await until(lambda: len(asyncio.all_tasks()) <= before)


def test_grace_is_shorter_than_a_minute() -> None:
    assert timedelta(minutes=1) > candle_log.GRACE
