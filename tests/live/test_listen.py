"""What is committed before the feed listens for it."""

import asyncio
from typing import Any

import pytest
from rows import insert, quote, until

from quotes.database import connections
from quotes.database.sessions import Sessions
from quotes.live import feed
from quotes.live.feed import open_feed
from quotes.settings import Settings


async def test_what_was_committed_before_the_feed_listened_is_read_at_once(
    sessions: Sessions, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "TIMER", 600.0)  # so that only the notification is left
    connect = connections.connector(settings.require_database_url(), name="feed")
    may_listen = asyncio.Event()

    async def connect_later() -> Any:
        await may_listen.wait()
        return await connect()

    async with open_feed(sessions, connect_later, sessions) as (running, _):
        assert await running.position() == 0
        await insert(sessions, quote())  # notifies nobody

        may_listen.set()

        await until(lambda: running.last == 1)
