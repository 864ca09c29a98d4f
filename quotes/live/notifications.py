"""The LISTEN connection, which notifies the feed that the log has grown."""

import asyncio
from collections.abc import Callable

from quotes.database import connections
from quotes.database.errors import DatabaseError, translated
from quotes.database.log import store
from quotes.database.outages import Outage

PROBE_EVERY = 2.0  # seconds between two checks that the LISTEN connection still answers
PROBE_TIMEOUT = 3.0  # seconds; with the line above, a silent death is noticed within five
RETRY = 0.5  # seconds before an unavailable database is tried again


class Notifications:
    """Calls `notify` for each notification, and once after each connect."""

    def __init__(self, connect: connections.Connect, notify: Callable[[], None]) -> None:
        self._connect = connect
        self._notify = notify
        self.listening = False

    async def run(self) -> None:
        """Listen, and reconnect for ever; ends only by cancellation."""
        outage = Outage("notifications")
        while True:
            try:
                with translated():
                    await self._listen(outage)
            except DatabaseError as error:
                outage.failed(error)
            await asyncio.sleep(RETRY)

    async def _listen(self, outage: Outage) -> None:
        """Hold one LISTEN connection until it is lost or falls silent."""
        connection = await self._connect()
        try:
            await connection.add_listener(store.CHANNEL, lambda *_: self._notify())
            self.listening = True
            outage.recovered()
            self._notify()  # of what was committed before we listened
            while True:
                await asyncio.sleep(PROBE_EVERY)
                await connection.execute("SELECT 1", timeout=PROBE_TIMEOUT)
        finally:
            self.listening = False
            connection.terminate()
