"""Parquet, of the lines of a CSV file, written by a process of its own."""

import asyncio
import io
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyarrow import parquet as reader

from quotes.export.files import HEADER, ChangedError
from quotes.export.parquet import ParquetError, converted

LINE = b"btc_usd,2026-01-31T12:00:00Z,91892.50,2026-01-31T12:00:00.040000Z,true,demo,LIVE\n"
PRICES = [b"0.000000001230", b"91892.123456789012", b"12345678901234567890123456789.50"]


async def lines(*pieces: bytes, error: Exception | None = None) -> AsyncGenerator[bytes]:
    for piece in (HEADER, *pieces):
        yield piece
    if error:
        raise error


async def file(*pieces: bytes) -> bytes:
    return b"".join([piece async for piece in converted(lines(*pieces))])


async def table(*pieces: bytes) -> pa.Table:
    return reader.read_table(io.BytesIO(await file(*pieces)))


async def test_a_price_keeps_each_digit_and_a_time_each_microsecond() -> None:
    whole = LINE.replace(b".040000Z", b"Z")
    found = await table(*(LINE.replace(b"91892.50", price) for price in PRICES), whole)

    assert found.column("price").to_pylist() == [*map(bytes.decode, PRICES), "91892.50"]
    assert found.to_pylist()[0] == {
        "ticker": "btc_usd",
        "at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "price": "0.000000001230",
        "observedAt": datetime(2026, 1, 31, 12, 0, 0, 40_000, tzinfo=UTC),
        "exactTime": True,
        "source": "demo",
        "origin": "LIVE",
    }
    assert found.column("observedAt").to_pylist()[-1] == datetime(2026, 1, 31, 12, tzinfo=UTC)


async def test_a_period_without_quotes_is_a_file_without_rows() -> None:
    found = await table()

    assert (found.num_rows, found.column_names) == (0, HEADER.decode().strip().split(","))


async def test_however_the_lines_come_in_pieces_the_file_is_the_same() -> None:
    days = [LINE * 1_440] * 60
    pieces = [LINE * 43_200] * 2

    assert await file(*days) == await file(*pieces)


async def test_what_goes_wrong_with_the_lines_ends_the_file_before_its_end() -> None:
    received = bytearray()

    async def receive() -> None:
        async for piece in converted(lines(LINE * 100_000, error=ChangedError())):
            received.extend(piece)

    with pytest.raises(ChangedError):
        await receive()

    assert not received.endswith(b"PAR1")


async def test_a_writer_that_fails_is_an_error() -> None:
    with pytest.raises(ParquetError):
        await table(b"no,line,of,ours\n")


async def test_a_file_that_nobody_reads_on_leaves_no_process_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def noted(*words: str, **options: object) -> asyncio.subprocess.Process:
        started.append(await start(*words, **options))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    reading = converted(lines(*[LINE * 50_000] * 20))
    await anext(reading)
    await reading.aclose()

    assert [process.returncode is not None for process in started] == [True]
