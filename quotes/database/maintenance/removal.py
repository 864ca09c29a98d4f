"""Deleting quotes and rebuilding the rollup, in chunks, concurrently with readers and writers."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import DateTime, Text, bindparam, delete, text
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.log import retention, rollup, store
from quotes.database.models import Backfill, Failure, Quote
from quotes.market.coverage import MINUTE, hour_of

CHUNK = timedelta(days=7)  # in a transaction; other writers wait for a fraction of a second


@dataclass(frozen=True, slots=True)
class Extent:
    """The range of a ticker's rows in all tables: [since, until)."""

    ticker: str
    since: datetime
    until: datetime

    def chunks(self) -> Iterator["Extent"]:
        """Chunks for one transaction each, which meet at whole hours."""
        begin = self.since
        while begin < self.until:
            end = min(hour_of(begin) + CHUNK, self.until)
            yield Extent(self.ticker, begin, end)
            begin = end


_EXTENT = text(
    """
    SELECT least((SELECT min(minute) FROM quotes WHERE ticker = :ticker),
                 (SELECT min(minute) FROM failures WHERE ticker = :ticker),
                 (SELECT min(hour) FROM hours WHERE ticker = :ticker)),
           greatest((SELECT max(minute) FROM quotes WHERE ticker = :ticker),
                    (SELECT max(minute) FROM failures WHERE ticker = :ticker),
                    (SELECT max(hour) FROM hours WHERE ticker = :ticker))
    """
).bindparams(bindparam("ticker", type_=Text))


async def extent(session: AsyncSession, ticker: str) -> Extent | None:
    """None if nothing is stored of the ticker, except perhaps its backfill."""
    connection = await session.connection()
    first, last = (await connection.execute(_EXTENT, {"ticker": ticker})).one()
    return None if first is None else Extent(ticker, first, last + MINUTE)


_TICKERS = text("SELECT DISTINCT ticker FROM hours ORDER BY ticker")


async def tickers(session: AsyncSession) -> list[str]:
    """Every ticker that has a quote or an hour, in order."""
    hours = (await (await session.connection()).scalars(_TICKERS)).all()
    return sorted({*hours, *await store.tickers(session)})


_REMOVE_RUNS = text(
    """
    DELETE FROM runs
    WHERE ticker = :ticker AND hour >= :since AND hour < :until AND NOT EXISTS (
        SELECT FROM hours WHERE hours.ticker = runs.ticker AND hours.hour = runs.hour
    )
    """
).bindparams(
    bindparam("ticker", type_=Text),
    bindparam("since", type_=DateTime(timezone=True)),
    bindparam("until", type_=DateTime(timezone=True)),
)


async def remove(session: AsyncSession, piece: Extent) -> int:
    """Delete the quotes and failures of a chunk, and rebuild its hours; the number of quotes.

    Their seqs are not reused. All web processes are notified, since answers change.
    """
    last = await store.lock(session)
    removed = 0
    for model in (Quote, Failure):
        of_the_piece = (
            col(model.ticker) == piece.ticker,
            col(model.minute) >= piece.since,
            col(model.minute) < piece.until,
        )
        deleted = await session.exec(delete(model).where(*of_the_piece))
        removed += deleted.rowcount if model is Quote else 0
    await rollup.rebuild(session, piece.ticker, piece.since, piece.until)
    hours = {"ticker": piece.ticker, "since": hour_of(piece.since), "until": piece.until}
    await (await session.connection()).execute(_REMOVE_RUNS, hours)
    await store.advance(session, last + 1)
    return removed


async def forget_charts(session: AsyncSession, ticker: str) -> None:
    """Forget that any chart of the ticker was fetched."""
    await session.exec(delete(Backfill).where(col(Backfill.ticker) == ticker))


async def rebuild(session: AsyncSession, piece: Extent) -> None:
    """Rebuild the hours of a chunk. All web processes are notified, since answers change."""
    last = await store.lock(session)
    retired = await retention.retired_before(session)  # before it, the hours are all there is
    since = piece.since if retired is None else max(piece.since, retired)
    if since < piece.until:
        await rollup.rebuild(session, piece.ticker, since, piece.until)
        await store.advance(session, last + 1)
