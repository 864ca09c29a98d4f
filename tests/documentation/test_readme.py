"""The snippets of the README and docs/ as written, on a real service; with a wrong ticker, too."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from browser import browsing, needs_browser
from client import Client, serving
from node import BENCH, NODE, needs_clients
from paths import snippets
from rows import NOON, insert, quote, restore, until

from quotes.database.sessions import Sessions
from quotes.settings import Settings

ADDRESS = "127.0.0.1:8000"
DAY = "2026-01-31"  # of the quote there is
WRONG = "nosuch_usd"
UNKNOWN = f"Unknown here: {WRONG}"
JAVASCRIPT = [NODE or "node", "--input-type=module", "-"]
PYTHON = [sys.executable, "-u", "-"]
PROGRAMS = [
    ("python", "CursorLostError"),
    ("python", "AsyncClient"),
    ("python", 'latest(["BTC"])'),
    ("python", 'latest(["BTC", "ETH"])'),
    ("python", "price_pages"),
    ("python", "btc.csv"),  # which tests/client/test_client_killed.py runs
    ("js", "graphql-ws"),
    ("js", "@urql/core"),
    ("js", "EventSource"),
]
# What the snippet for urql takes from the ones before it, which are TypeScript.
BEFORE_URQL = """
import { createClient } from "graphql-ws";
import { WebSocket as webSocketImpl } from "ws";
const client = createClient({ url: "ws://127.0.0.1:8000/graphql", webSocketImpl });
const query = `subscription { priceUpdates(tickers: ["BTC"]) { ticker price } }`;
"""


def snippet(language: str, word: str) -> str:
    """The one snippet in that language that holds the word."""
    (found,) = (text for _, text in snippets(language) if word in text)
    return found


def test_each_program_among_the_snippets_is_run_here() -> None:
    programs = [text for language in ("js", "python") for _, text in snippets(language)]

    assert sorted(programs) == sorted(snippet(*each) for each in PROGRAMS)


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    await insert(sessions, quote(price="91892.59"))
    async with serving(settings) as client:
        yield client


def addressed(code: str, client: Client, *, wrong: bool = False) -> str:
    """The snippet for this service, and perhaps for a ticker that it does not know."""
    code = code.replace(ADDRESS, client.url.removeprefix("http://"))
    code = code.replace("2026-11-23", DAY)
    assert "BTC" in code
    return code.replace("BTC", WRONG) if wrong else code


@asynccontextmanager
async def started(words: Sequence[str], code: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *words, cwd=BENCH, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    assert process.stdin is not None
    process.stdin.write(code.encode())
    process.stdin.close()
    try:
        async with asyncio.timeout(60):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def first_line(words: Sequence[str], code: str, upto: str = "}") -> str:
    async with started(words, code) as process:
        assert process.stdout is not None
        lines = ""
        while upto not in lines:
            line = await process.stdout.readline()
            assert line, (lines, await process.communicate())
            lines += line.decode()
        return lines


async def end_of(words: Sequence[str], code: str) -> tuple[int | None, str]:
    """The status that it ends with by itself, and what it wrote to stderr."""
    async with started(words, code) as process:
        _, output = await process.communicate()
        return process.returncode, output.decode()


async def test_the_python_loop_prints_quotes_and_ends_with_the_service_s_sentence(
    client: Client,
) -> None:
    code = snippet("python", "CursorLostError")

    assert await first_line(PYTHON, addressed(code, client), "Decimal('91892.59')")
    status, output = await end_of(PYTHON, addressed(code, client, wrong=True))

    assert (status, f"UnknownTickerError: {UNKNOWN}" in output) == (1, True)


@pytest.mark.parametrize(
    ("word", "last"),
    [
        ("AsyncClient", "btc_usd 2026-01-31 12:00:00+00:00 91892.59"),
        ('latest(["BTC"])', "2026-01-31 12:00:00+00:00 91892.59 h"),
        ('latest(["BTC", "ETH"])', "btc_usd 2026-01-31 12:00:00+00:00 91892.59"),
        ("price_pages", "1 91892.59"),
    ],
)
async def test_the_python_programs_print_what_there_is(
    client: Client, word: str, last: str
) -> None:
    assert await first_line(PYTHON, addressed(snippet("python", word), client), last)


@needs_clients
async def test_the_graphql_ws_loop_prints_quotes_and_ends_with_the_service_s_sentence(
    client: Client,
) -> None:
    code = snippet("js", "graphql-ws")

    assert "91892.59" in await first_line(JAVASCRIPT, addressed(code, client))
    status, output = await end_of(JAVASCRIPT, addressed(code, client, wrong=True))

    assert (status, f"Error: {UNKNOWN}" in output) == (1, True)


async def after_a_restore(words: Sequence[str], code: str, sessions: Sessions) -> str:
    """What a snippet prints from the restore of an older copy up to the first quote after it."""
    async with started(words, code) as process:
        assert process.stdout is not None
        before = await process.stdout.readline()
        while b"91892.59" not in before:
            before = await process.stdout.readline()
        await restore(sessions, upto=0)
        await insert(sessions, *(quote(at=at, price="7.5") for at in range(5)))
        printed = ""
        while "7.5" not in printed:
            line = await process.stdout.readline()
            assert line, (printed, await process.communicate())
            printed += line.decode()
        return printed


async def test_the_python_loop_begins_again_after_a_restore(
    client: Client, sessions: Sessions
) -> None:
    code = addressed(snippet("python", "CursorLostError"), client)

    assert "restored from an older" in await after_a_restore(PYTHON, code, sessions)


@needs_clients
async def test_the_graphql_ws_loop_begins_again_after_a_restore(
    client: Client, sessions: Sessions
) -> None:
    code = addressed(snippet("js", "graphql-ws"), client)

    assert "7.5" in await after_a_restore(JAVASCRIPT, code, sessions)


@needs_clients
async def test_the_urql_client_prints_quotes_and_the_service_s_sentence(client: Client) -> None:
    code = BEFORE_URQL + snippet("js", "@urql/core")

    assert "91892.59" in await first_line(JAVASCRIPT, addressed(code, client))
    _, output = await end_of(JAVASCRIPT, addressed(code, client, wrong=True))

    assert UNKNOWN in output


@pytest.mark.parametrize(
    "query", [each for _, text in snippets("graphql") for each in re.split(r"\n(?=\{)", text)]
)
async def test_each_query_is_answered_as_it_is_written(
    client: Client, sessions: Sessions, query: str
) -> None:
    now = (datetime.now(UTC) - NOON) // timedelta(minutes=1)  # a candle of which is open
    await insert(sessions, quote("eth_usd"), quote(at=now))
    async with client.subscription(query) as answer:
        message = await answer.message()

    assert message["type"] == "next"
    refused = {each["extensions"]["code"] for each in message["payload"].get("errors", ())}
    assert refused <= ({"STALE_PRICE", "UNCERTAIN_PRICE"} if "maxSpread" in query else set())


async def test_the_curl_command_prints_the_latest_prices(client: Client) -> None:
    command = snippet("sh", "latestPrices").replace(ADDRESS, client.url)

    assert await first_line(["sh"], command) == (
        '{"data":{"latestPrices":[{"ticker":"btc_usd","price":"91892.59"}]}}'
    )


async def test_the_curl_command_for_a_file_writes_it(client: Client, tmp_path: Path) -> None:
    command = snippet("sh", "/export/").replace(ADDRESS, client.url)
    process = await asyncio.create_subprocess_exec("sh", "-c", command, cwd=tmp_path)

    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert (tmp_path / "btc_usd-2026-01.csv").read_text().count("91892.59") == 1


@needs_browser
@pytest.mark.parametrize("wrong", [False, True])
async def test_the_event_source_logs_quotes_or_the_sentence_and_then_ends(
    client: Client, *, wrong: bool
) -> None:
    code = addressed(snippet("js", "EventSource"), client, wrong=wrong)
    words = UNKNOWN if wrong else "btc_usd 91892.59"
    logged: list[str] = []

    async with browsing() as browser:
        page = await browser.new_page()
        page.on("console", lambda message: logged.append(message.text))
        await page.goto(f"{client.url}/healthz")
        await page.evaluate(f"() => {{ {code}; window.events = events; }}")
        await until(lambda: any(each.startswith(words) for each in logged))
        if wrong:
            async with asyncio.timeout(60):
                while await page.evaluate("window.events.readyState") != 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    assert len([each for each in logged if each.startswith(words)]) == 1
