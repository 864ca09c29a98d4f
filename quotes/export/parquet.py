"""Parquet, of the lines of a CSV file; it needs the extra `parquet`."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cache
from importlib.metadata import PackageNotFoundError, version

WRITER = "quotes.export.parquet_writer"
PIECE = 64 * 1024  # bytes, of what the writer has written
HOW = "pip install 'quotes[parquet]'"


class ParquetError(Exception):
    """The writer has failed; its own stderr has the cause."""


@cache  # it looks through all that is installed
def library() -> str | None:
    """The version of the library that writes it; None where there is none.

    Each may write the same rows as other bytes.
    """
    try:
        return version("pyarrow")
    except PackageNotFoundError:
        return None


async def converted(lines: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The file of the lines, in pieces. Neither is ever in memory as a whole.

    Raises ParquetError, and what `lines` raises.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", WRITER),
        stdin=PIPE,
        stdout=PIPE,
        limit=PIECE,
        start_new_session=True,  # Ctrl-C is not for it: it ends with its pipes
    )
    feeding = asyncio.create_task(_feed(process, lines))
    try:
        assert process.stdout is not None
        while piece := await process.stdout.read(PIECE):
            yield piece
        await feeding
        if await process.wait():
            raise ParquetError(f"it ended with status {process.returncode}")
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _feed(process: Process, lines: AsyncGenerator[bytes]) -> None:
    """Write the lines; where they end too early, the writer has to, too."""
    assert process.stdin is not None
    try:
        async with aclosing(lines):
            async for piece in lines:
                process.stdin.write(piece)
                await process.stdin.drain()
        process.stdin.close()
    except OSError:
        raise ParquetError("it ended early") from None
    except BaseException:
        process.kill()
        raise
