"""The commands in the documents, run line by line as they are written."""

import asyncio
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from paths import snippets
from processes import environment
from rows import NOON, insert, quote

from quotes.database.sessions import Sessions
from quotes.settings import Settings

BLOCKS = {
    f"{page.name}: {text.splitlines()[0]}": [line for line in text.splitlines() if line]
    for page, text in snippets("sh")
    if all(line.startswith("quotes ") for line in text.splitlines() if line)
}
RAN = {0}
LOOKED = {0, 1}  # `quotes doctor`, which finds faults here: no worker, and no exchange


def test_pages_with_commands_are_found() -> None:
    pages = {name.partition(":")[0] for name in BLOCKS}

    assert {"access.md", "deploy.md", "export.md"} <= pages


@pytest.mark.parametrize("block", BLOCKS)
async def test_each_command_does_what_its_page_is_about(
    settings: Settings, sessions: Sessions, tmp_path: Path, block: str
) -> None:
    november = (datetime(2026, 11, 24, tzinfo=UTC) - NOON) // timedelta(minutes=1)
    await insert(sessions, quote(), quote("eth_usd"), quote(at=november))
    for line in BLOCKS[block]:
        _, *words = shlex.split(line, comments=True)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "quotes", *words),
            cwd=tmp_path,
            env=environment(settings, QUOTES_DERIBIT_URL="http://127.0.0.1:9/api/v2"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 120)

        assert process.returncode in (LOOKED if words == ["doctor"] else RAN), output.decode()
        assert b"Traceback" not in output
