"""A worker's signs of life, from the loop on which it does its work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from quotes.background import background
from quotes.database import heartbeats
from quotes.database.errors import DatabaseError
from quotes.database.models import Part
from quotes.database.outages import Outage
from quotes.database.sessions import Sessions
from quotes.settings import SettingsError


@asynccontextmanager
async def beating(sessions: Sessions) -> AsyncIterator[None]:
    """Send heartbeats until the block ends."""
    async with background(_beat(sessions), "heartbeat"):
        yield


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
