"""Logging of database outages by loops that survive them, and waiting for a database to start."""

import asyncio
import time

import structlog

from quotes import addresses
from quotes.database import connections
from quotes.database.errors import DatabaseError, UnavailableError, translated

log = structlog.get_logger()

REMIND = 60.0  # seconds until a lasting cause is logged again
RETRY = 0.5  # seconds between two attempts to connect


class StillUnavailableError(Exception):
    """The database did not answer within the time it was given; the message is a sentence."""


class Outage:
    """The database errors of one loop; `subject` names what the loop does."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self.cause: str | None = None  # None while there is no error
        self._logged_at = 0.0

    def failed(self, error: DatabaseError | TimeoutError) -> None:
        """Log the cause if it is a new one, else once every REMIND seconds."""
        cause = str(error) or "no answer in time"
        if cause != self.cause or time.monotonic() - self._logged_at >= REMIND:
            self._logged_at = time.monotonic()
            if isinstance(error, UnavailableError | TimeoutError):
                log.warning("database_unavailable", subject=self._subject, reason=cause)
            else:
                log.error("database_refused", subject=self._subject, reason=cause)
        self.cause = cause

    def recovered(self) -> None:
        if self.cause is not None:
            log.info("database_available", subject=self._subject)
        self.cause = None


async def wait_until_available(url: str, *, seconds: float) -> None:
    """Return when the database answers. Logs the start and end of the wait, and reminders.

    Raises StillUnavailableError after `seconds`, SettingsError if waiting cannot help.
    """
    connect = connections.connector(url, name="wait")
    outage = Outage("start")
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    with translated():
                        connection = await connect()
                    break
                except DatabaseError as error:
                    outage.failed(error)
                await asyncio.sleep(RETRY)
    except TimeoutError:
        raise StillUnavailableError(
            f"The database of QUOTES_DATABASE_URL ({addresses.shown(url)}) has not answered within "
            f"{seconds:.0f} seconds: {outage.cause or 'no connection'}."
        ) from None
    outage.recovered()
    await connection.close(timeout=connections.CONNECT_TIMEOUT)
