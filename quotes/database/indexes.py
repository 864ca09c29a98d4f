"""The exchange's list of its indexes, as it was last received: for QUOTES_TICKERS with patterns.

Each function runs in the transaction of the session it is given, and never commits.
"""

from collections.abc import Collection

from sqlalchemy import ARRAY, Text, bindparam, text
from sqlmodel.ext.asyncio.session import AsyncSession

LISTED = "SELECT ticker FROM indexes"  # also for the driver's own connections

_NAMES = bindparam("names", type_=ARRAY(Text))
_LISTED = text(LISTED)
# In an order, so that two workers that do the same wait for each other and not in a circle.
_ADD = text(
    """
    INSERT INTO indexes (ticker)
    SELECT name FROM unnest(:names) AS listed (name) ORDER BY name
    ON CONFLICT DO NOTHING
    """
).bindparams(_NAMES)
_REMOVE = text("DELETE FROM indexes WHERE ticker <> ALL (:names) RETURNING ticker").bindparams(
    _NAMES
)


async def listed(session: AsyncSession) -> frozenset[str]:
    """Empty before the first list."""
    return frozenset((await (await session.connection()).scalars(_LISTED)).all())


async def replace(session: AsyncSession, names: Collection[str]) -> frozenset[str]:
    """Make this the list; returns what was on the last one and is not on this."""
    connection = await session.connection()
    gone = (await connection.scalars(_REMOVE, {"names": list(names)})).all()
    await connection.execute(_ADD, {"names": list(names)})
    return frozenset(gone)
