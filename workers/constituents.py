"""Publishes to the web processes what each index is made of, as the exchange's WebSocket has it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from quotes.background import background
from quotes.database import constituents
from quotes.database.constituents import Report
from quotes.database.errors import DatabaseError
from quotes.database.outages import Outage
from quotes.database.sessions import Sessions
from quotes.settings import SettingsError
from workers.exchange.rankings import Rankings

EVERY = 3.0  # seconds between two writes; rankings come each second
TIMEOUT = 5.0  # seconds for one


@asynccontextmanager
async def publishing(sessions: Sessions, rankings: Rankings) -> AsyncIterator[None]:
    """Until the block ends."""
    async with background(_publish(sessions, rankings), "constituents"):
        yield


async def _publish(sessions: Sessions, rankings: Rankings) -> None:
    """For ever; ends only by cancellation."""
    outage = Outage("constituents")
    published_at = float("-inf")
    while True:
        began = _time()
        reports = []
        for each in rankings.since(published_at):
            ago = timedelta(seconds=_time() - each.at)
            reports.append(
                Report(each.ticker, each.constituents, each.spreads, ago, ago + each.lag)
            )
            await asyncio.sleep(0)  # reading all takes 20 ms, and prices are not to wait for that
        try:
            if reports:
                async with asyncio.timeout(TIMEOUT):
                    await sessions.transact(partial(constituents.publish, reports=reports))
        except (DatabaseError, TimeoutError) as error:
            outage.failed(error)
        except SettingsError:
            return  # the first message's work meets it, too, and the worker ends
        else:
            published_at = began
            outage.recovered()
        await asyncio.sleep(EVERY)


def _time() -> float:
    return asyncio.get_running_loop().time()
