"""A file of a ticker's quotes: its bytes in pieces, a day at a time, whoever they are sent to."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Self

from quotes.database.connections import Pool
from quotes.database.log.store import Span
from quotes.database.queries import exports
from quotes.database.queries.exports import Version
from quotes.database.queries.json_pages import Row
from quotes.export import parquet
from quotes.export.periods import Period

LAYOUT = 1  # of the lines: incremented where a release writes the same quotes differently
HEADER = ",".join(exports.NAMES).encode() + b"\n"

Pay = Callable[[int], Awaitable[None]]  # with how many rows were read


class Format(StrEnum):
    """As it ends a file's name."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, with a sentence for the person who wrote it."""
        try:
            return cls(text)
        except ValueError:
            raise ValueError(f"{text[:20]!r} is no format; write one of {', '.join(cls)}") from None

    @classmethod
    def available(cls) -> list[Self]:
        """Without Parquet where its library is not installed."""
        return [each for each in cls if each is not cls.PARQUET or parquet.library()]


class ChangedError(Exception):
    """Quotes were removed while the file was read; it has to be read anew."""

    def __init__(self) -> None:
        super().__init__("quotes were removed meanwhile")


@dataclass(frozen=True, slots=True)
class File:
    """All quotes of a ticker in a period, in a format."""

    ticker: str
    period: Period
    format: Format

    @property
    def name(self) -> str:
        return f"{self.ticker}-{self.period.text}.{self.format}"

    @property
    def span(self) -> Span:
        return Span(self.ticker, self.period.since, self.period.until)

    def tag(self, version: Version) -> str:
        """The same for the same bytes."""
        writer = parquet.library() if self.format is Format.PARQUET else None
        whole = f"{LAYOUT} {writer} {self.ticker} {self.period.text} {self.format} {version}"
        return blake2b(whole.encode(), digest_size=12).hexdigest()


def read(pool: Pool, file: File, version: Version, pay: Pay) -> AsyncGenerator[bytes]:
    """The file's bytes, in pieces, of days that are each paid for when they have been read.

    A connection is held only while a day is read from it, however long the receiver takes.
    Raises DatabaseError and ParquetError; ChangedError at the end.
    """
    match file.format:
        case Format.JSONL:
            return _lines(pool, file, version, pay, exports.JSON_ROW)
        case Format.CSV:
            return _lines(pool, file, version, pay, exports.CSV_ROW, HEADER)
        case Format.PARQUET:
            return parquet.converted(_lines(pool, file, version, pay, exports.CSV_ROW, HEADER))


async def _lines(  # noqa: PLR0913, PLR0917  # what it reads with, and what
    pool: Pool, file: File, version: Version, pay: Pay, row: Row, header: bytes = b""
) -> AsyncGenerator[bytes]:
    yield header
    count = 0
    if version.first is not None and version.newest is not None:
        for day in file.period.days(version.first, version.newest):
            span = Span(file.ticker, day.since, day.until)
            text, rows = await exports.page(pool, span, version.last, row)
            count += rows
            await pay(rows)
            yield text.encode()
    if count != version.count:
        raise ChangedError
