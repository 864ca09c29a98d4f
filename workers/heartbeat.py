"""A worker's signs of life, from the loop on which it does its work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from quotes.database import heartbeats
from quotes.database.errors import DatabaseError
from quotes.database.models import Part
from quotes.database.outages import Outage
from quotes.database.sessions import Sessions
from quotes.settings import SettingsError


@asynccontextmanager
async def beating(sessions: Sessions) -> AsyncIterator[None]:
    """Send heartbeats until the block ends."""
    task = asyncio.create_task(_beat(sessions), name="heartbeat")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _beat(sessions: Sessions) -> None:
    """For ever; ends only by cancellation."""
    outage = Outage("heartbeat")
    while True:
        try:
            async with asyncio.timeout(heartbeats.EVERY):
                await sessions.transact(partial(heartbeats.beat, part=Part.WORKER))
        except (DatabaseError, TimeoutError) as error:
            outage.failed(error)
        except SettingsError:
            return  # the first message's work meets it, too, and the worker ends
        else:
            outage.recovered()
        await asyncio.sleep(heartbeats.EVERY)
