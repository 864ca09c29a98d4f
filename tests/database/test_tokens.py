"""`quotes token`: what is stored of a token, and what is printed."""

import asyncio
import re
from hashlib import sha256

from test_cli import quotes

from quotes.database import tokens
from quotes.database.sessions import Sessions
from quotes.settings import Settings


async def test_a_token_is_printed_once_and_only_its_hash_is_stored(
    settings: Settings, sessions: Sessions
) -> None:
    url = {"QUOTES_DATABASE_URL": settings.require_database_url()}

    added = await asyncio.to_thread(quotes, "token", "add", "grafana", **url)
    again = await asyncio.to_thread(quotes, "token", "add", "grafana", **url)
    listed = await asyncio.to_thread(quotes, "token", "list", **url)
    async with sessions() as session:
        (stored,) = await tokens.every(session)

    token = added.stdout.strip()
    assert re.fullmatch(r"qt_[\w-]{43}", token)
    assert stored.hash == sha256(token.encode()).digest()
    assert (again.returncode, again.stdout, "grafana already" in again.stderr) == (1, "", True)
    assert listed.stdout.startswith("grafana\t20")
    assert token not in listed.stdout + listed.stderr + added.stderr


async def test_what_is_removed_is_gone_and_what_is_not_there_is_said(
    settings: Settings, sessions: Sessions
) -> None:
    url = {"QUOTES_DATABASE_URL": settings.require_database_url()}
    async with sessions.begin() as session:
        await tokens.add(session, "grafana", "qt_x")

    removed = await asyncio.to_thread(quotes, "token", "remove", "grafana", **url)
    again = await asyncio.to_thread(quotes, "token", "remove", "grafana", **url)
    wrong = await asyncio.to_thread(quotes, "token", "add", "a b", **url)

    assert (removed.returncode, again.returncode, wrong.returncode) == (0, 1, 2)
    assert again.stderr == "There is no token grafana.\n"
    async with sessions() as session:
        assert await tokens.every(session) == []
