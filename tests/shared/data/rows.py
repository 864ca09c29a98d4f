"""Quotes for tests, and the shortest way to store and read them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from sqlalchemy import text

from quotes.api import cursors
from quotes.database import minutes
from quotes.database.log import partitions, store, stream
from quotes.database.models import Failure, Origin, Quote
from quotes.database.sessions import Sessions

Found = TypeVar("Found")

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def minute(number: int) -> datetime:
    """The minute `number` minutes after noon."""
    return NOON + timedelta(minutes=number)


def quote(
    ticker: str = "btc_usd",
    at: int = 0,
    price: str = "100000.5",
    *,
    origin: Origin = Origin.LIVE,
    source: str = "demo",
) -> Quote:
    return Quote(
        ticker=ticker,
        minute=minute(at),
        price=Decimal(price),
        observed_at=minute(at) + timedelta(milliseconds=40),
        exact_time=at % 2 == 0,
        source=source,
        origin=origin,
    )


def failure(cause: str) -> Failure:
    """Why eth_usd has no quote for the second minute after noon."""
    return Failure(
        ticker="eth_usd",
        minute=minute(2),
        cause=cause,
        message="The exchange has no index eth_usd.",
        failed_at=minute(2) + timedelta(seconds=1),
        attempts=1,
    )


def cursor(seq: int, quote: Quote) -> str:
    """The cursor of the quote once it has this seq."""
    return cursors.stream(Quote(**{**quote.model_dump(), "seq": seq}))


def seq_of(cursor: str) -> int:
    return cursors.place_of(cursor).seq


async def insert(sessions: Sessions, *quotes: Quote) -> int:
    async with sessions.begin() as session:
        return await store.insert(session, quotes)


async def record(sessions: Sessions, *failures: Failure) -> None:
    async with sessions.begin() as session:
        await minutes.record_failures(session, failures)


async def restore(sessions: Sessions, *, upto: int) -> None:
    """Make the log what an older copy of the database held: its first `upto` quotes."""
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.execute(text("DELETE FROM quotes WHERE seq > :upto"), {"upto": upto})
        await connection.execute(text("UPDATE high_water SET seq = :upto"), {"upto": upto})


async def log(
    sessions: Sessions, after: int = 0, tickers: Collection[str] | None = None
) -> list[Quote]:
    """Everything streamed, of all tickers or some, in order."""
    found = list[Quote]()
    async with sessions() as session:
        book = await partitions.book(session)
        while after < book.upto:
            quotes, after = await stream.page(
                session, book, after=after, upto=book.upto, limit=1_000_000, tickers=tickers
            )
            found += quotes
    return found


def names(quotes: Iterable[Quote]) -> list[tuple[str, int]]:
    """Each quote's ticker, and its minute after noon."""
    return [(each.ticker, int((each.minute - NOON).total_seconds() // 60)) for each in quotes]


def standing(at: datetime) -> Callable[[], datetime]:
    """A clock stopped two seconds after `at`."""
    return lambda: at + timedelta(seconds=2)


async def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait until another task or process has made the condition true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)


async def wait(look: Callable[[], Awaitable[Found]], done: Callable[[Found], object]) -> Found:
    """Poll until another process has made the result `done`, and return it."""
    async with asyncio.timeout(120):
        while not done(found := await look()):  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.05)
    return found


async def logged(sessions: Sessions, count: int) -> list[Quote]:
    """The log, once it holds `count` quotes."""
    return await wait(lambda: log(sessions), lambda found: len(found) >= count)
