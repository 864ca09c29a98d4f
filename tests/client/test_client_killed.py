"""The documents' program that follows for ever into a file, killed at any time, and its service."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from paths import snippets
from processes import Api, free_port
from rows import NOON, insert, log, quote, until

from quotes.database.models import Origin, Quote
from quotes.database.sessions import Sessions
from quotes.settings import Settings

KILLS = 6
ROWS = 15  # that the program writes between two kills
FILE = "btc.csv"


def program(api: Api) -> str:
    """As documented, but for the address and the moment."""
    (code,) = (text for _, text in snippets("python") if FILE in text)
    for word, here in (
        ("http://127.0.0.1:8000", api.url.removesuffix("/graphql")),
        ("2026-11-01T00:00:00Z", NOON.isoformat()),
    ):
        assert code.count(word) == 1
        code = code.replace(word, here)
    return code


class Program:
    """A process that a supervisor starts again whenever it has ended."""

    def __init__(self, code: str, folder: Path) -> None:
        self._code = code
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0

    async def supervise(self) -> None:
        try:
            while True:
                self.starts += 1
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", self._code, cwd=self._folder
                )
                await self._process.wait()
        finally:
            self.kill()

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def written(self) -> list[list[str]]:
        """The file's whole lines: a cursor, a minute and a price each."""
        file = self._folder / FILE
        text = file.read_text() if file.exists() else ""
        return [line[:-1].split(",") for line in text.splitlines(keepends=True) if "\n" in line]

    async def writes(self, rows: int) -> None:
        before = len(self.written())
        await until(lambda: len(self.written()) >= before + rows)


async def write(sessions: Sessions) -> None:
    """A minute each, some of them again and again in the past, beside those of another ticker."""
    for at in count(1):
        late = at % 3 == 0
        origin = Origin.REPAIRED if late else Origin.LIVE
        await insert(sessions, quote(at=-at if late else at, price=f"{at}.50", origin=origin))
        await insert(sessions, quote("eth_usd", at=at))
        await asyncio.sleep(0.02)


@asynccontextmanager
async def beside(*loops: asyncio.Task[None]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


def line(quote: Quote) -> list[str]:
    return [str(quote.minute), str(quote.price)]


async def test_a_file_has_each_quote_once_and_in_order_though_writer_and_service_are_killed(
    settings: Settings, sessions: Sessions, tmp_path: Path
) -> None:
    past = [quote(at=at, origin=Origin.BACKFILLED) for at in range(100_000, 100_000 + 3 * ROWS)]
    await insert(sessions, *past, quote(at=0))
    api = Api(settings, free_port())
    await api.start()
    target = Program(program(api), tmp_path)
    writing = asyncio.create_task(write(sessions))
    try:
        async with beside(writing, asyncio.create_task(target.supervise())):
            for kill in range(KILLS):
                await target.writes(ROWS)
                if kill % 4 != 1:
                    target.kill()
                if kill % 2:
                    await api.end()
                    await api.start()
            writing.cancel()
            await asyncio.wait([writing])
            streamed = [each for each in await log(sessions) if each.ticker == "btc_usd"]
            await until(lambda: target.written()[-1][1:] == line(streamed[-1]))
            written = target.written()
    finally:
        await api.end()

    assert target.starts > KILLS // 2
    of_history = [each for each in written if each[0].startswith("h")]
    of_stream = written[len(of_history) :]
    seqs = [int(cursor.removeprefix("s").partition("-")[0]) for cursor, *_ in of_stream]
    assert [each[1] for each in of_history] == sorted(each[1] for each in of_history)
    assert seqs == sorted(set(seqs))
    assert len(of_history) >= len(past)
    early = [each for each in streamed if each.minute >= NOON or each.seq in seqs]
    assert sorted(each[1:] for each in written) == sorted(line(each) for each in [*past, *early])
    assert [each[1:] for each in of_stream] == [
        line(each) for each in streamed if each.seq >= seqs[0]
    ]
