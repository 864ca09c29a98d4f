"""What a loop that outlives its database logs: each cause when it changes, and the end of it."""

import structlog

from quotes.database.errors import DatabaseError, UnavailableError

log = structlog.get_logger()


class Outage:
    """The trouble that one loop has with the database; `subject` is what the loop does."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self.cause: str | None = None  # None while all is well

    def met(self, error: DatabaseError | TimeoutError) -> None:
        """Log the cause unless it is the one of the round before."""
        cause = str(error) or "no answer in time"
        if cause != self.cause:
            if isinstance(error, UnavailableError | TimeoutError):
                log.warning("database_unavailable", subject=self._subject, reason=cause)
            else:
                log.error("database_refused", subject=self._subject, reason=cause)
        self.cause = cause

    def over(self) -> None:
        if self.cause is not None:
            log.info("database_found", subject=self._subject)
        self.cause = None
