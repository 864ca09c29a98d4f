"""A backup, made and restored by the very commands of docs/backup.md, is the whole service."""

import asyncio
import os
from pathlib import Path

import asyncpg
from paths import snippets
from rows import insert, quote

from quotes.database.maintenance import migrations
from quotes.database.sessions import Sessions, open_engine
from quotes.local import binaries
from quotes.settings import Settings

WHOLE = """
    SELECT (SELECT json_agg(quotes ORDER BY seq)::text FROM quotes) AS quotes,
           (SELECT json_agg(hours ORDER BY ticker, hour)::text FROM hours) AS hours,
           (SELECT seq FROM high_water) AS seq
"""


async def run(command: str, folder: Path, **environment: str) -> None:
    programs = str(binaries.postgres()[0].folder)
    process = await asyncio.create_subprocess_shell(
        command, cwd=folder, env={"PATH": f"{programs}:{os.environ['PATH']}", **environment}
    )
    assert await process.wait() == 0


async def whole(url: str) -> asyncpg.Record:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchrow(WHOLE)
    finally:
        await connection.close()


async def test_a_restored_dump_has_all_quotes_and_goes_on_with_their_numbers(
    settings: Settings, sessions: Sessions, empty_database_url: str, tmp_path: Path
) -> None:
    dump, restore = (text for page, text in snippets("sh") if page.name == "backup.md")
    url = settings.require_database_url()
    await insert(sessions, quote(at=0), quote("eth_usd", at=1, price="0.10"))
    before = await whole(url)

    await run(dump, tmp_path, QUOTES_DATABASE_URL=url)
    await insert(sessions, quote(at=2))
    await run(restore, tmp_path, RESTORED_DATABASE_URL=empty_database_url)

    await asyncio.to_thread(migrations.migrate, empty_database_url)
    assert await whole(empty_database_url) == before
    async with open_engine(empty_database_url, name="test") as engine:
        await insert(Sessions(engine), quote(at=3))
    assert (await whole(empty_database_url))["seq"] == before["seq"] + 1
