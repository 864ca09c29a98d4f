"""Access tokens: a name for each, and the hash of what its holder sends.

A token is 256 random bits, so a plain SHA-256 of it can be stored: there is nothing to guess.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.models import Token


def hash_of(token: str) -> bytes:
    """32 bytes. What a client sends may be no valid Unicode."""
    return sha256(token.encode(errors="surrogatepass")).digest()


async def add(session: AsyncSession, name: str, token: str) -> bool:
    """Whether the name was free; if not, nothing is changed."""
    row = {"name": name, "hash": hash_of(token), "created_at": datetime.now(UTC)}
    statement = insert(Token).values(row).on_conflict_do_nothing(index_elements=["name"])
    return bool((await session.exec(statement)).rowcount)


async def every(session: AsyncSession) -> Sequence[Token]:
    """In the order of their names."""
    return (await session.exec(select(Token).order_by(col(Token.name)))).all()


async def names(session: AsyncSession) -> Mapping[bytes, str]:
    """By their hashes."""
    return {token.hash: token.name for token in await every(session)}


async def remove(session: AsyncSession, name: str) -> bool:
    """Whether there was one."""
    return bool((await session.exec(delete(Token).where(col(Token.name) == name))).rowcount)
