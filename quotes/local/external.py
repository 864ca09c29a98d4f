"""Checks of the servers that `up` is configured to use.

The few statements here use asyncpg only: the store's imports would double the start-up time.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from quotes import addresses
from quotes.database import connections
from quotes.database.maintenance import revisions
from quotes.local.preflight import PreflightError
from quotes.market.sources import MixedError, require_one_kind
from quotes.settings import SettingsError

Errors = tuple[type[Exception], ...]

_ANSWER_SECONDS = 30.0  # for a server that may be starting concurrently
_CONNECT_SECONDS = 5.0
_PAUSE_SECONDS = 0.5


async def check_database(url: str, *, made_up: bool) -> None:
    """Wait for a database; it must be new enough, and hold no prices of the other kind."""
    import asyncpg

    connect = connections.connector(url, name="up")

    async def look() -> None:
        connection = await connect()
        try:
            connections.require_supported(connection.get_server_version().major)
            require_one_kind(await _sources(connection), made_up=made_up)
        except (connections.UnsupportedServerError, MixedError) as error:
            raise PreflightError(str(error)) from None
        finally:
            await connection.close(timeout=_CONNECT_SECONDS)

    unavailable = (
        OSError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    )
    final = (
        SettingsError,
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
    )
    await _until_answered("DATABASE_URL", url, look, unavailable=unavailable, final=final)


async def is_current(url: str) -> bool:
    """Whether the database has this release's tables; False also if that is unknown."""
    return await _value(url, "SELECT version_num FROM alembic_version") == revisions.head()


async def has_quotes(url: str) -> bool:
    """Whether there is any quote; False also if that is unknown."""
    return bool(await _value(url, "SELECT true FROM quotes LIMIT 1"))


async def listed(url: str) -> list[str]:
    """The exchange's indexes, as last received; none also if they are unknown."""
    found = await _value(url, "SELECT array_agg(ticker) FROM indexes")
    return found if isinstance(found, list) else []


async def _value(url: str, statement: str) -> object:
    """The statement's only value; None if there is none, or no table or database."""
    import asyncpg

    try:
        connection = await connections.connector(url, name="up")()
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close(timeout=_CONNECT_SECONDS)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None


async def check_redis(url: str) -> None:
    import redis.asyncio
    from redis import exceptions

    async def look() -> None:
        client = redis.asyncio.Redis.from_url(
            url, socket_connect_timeout=_CONNECT_SECONDS, socket_timeout=_CONNECT_SECONDS
        )
        async with client:
            await client.ping()

    final = (exceptions.AuthenticationError, exceptions.ResponseError, ValueError, TypeError)
    unavailable = (OSError, exceptions.RedisError)
    await _until_answered("REDIS_URL", url, look, unavailable=unavailable, final=final)


async def _until_answered(
    variable: str,
    url: str,
    look: Callable[[], Awaitable[None]],
    *,
    unavailable: Errors,
    final: Errors,
) -> None:
    where = f"The server of QUOTES_{variable} ({addresses.shown(url)})"  # a URL may hold a password
    reason = ""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            while True:
                try:
                    return await look()
                except final as error:
                    raise PreflightError(f"{where} refuses: {error}") from None
                except unavailable as error:
                    if not reason:
                        print(f"{where} does not answer yet; waiting.", file=sys.stderr)
                    reason = str(error) or type(error).__name__
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        raise PreflightError(
            f"{where} has not answered within {_ANSWER_SECONDS:.0f} seconds ({reason}). "
            f"Start it, correct QUOTES_{variable}, or leave that unset for a server of our own."
        ) from None


async def _sources(connection: Any) -> set[str]:
    """The source of one of the quotes, if there is any.

    `store.insert` never mixes kinds, so one is enough.
    """
    if await connection.fetchval("SELECT to_regclass('quotes')") is None:
        return set()
    return {row["source"] for row in await connection.fetch("SELECT source FROM quotes LIMIT 1")}
