"""Database errors by their cause: the only module that inspects drivers' exceptions.

`Sessions` raises these; wrap the use of a plain connection in `with translated():`. The message of
each is its cause, for an operator.
"""

from types import TracebackType

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class DatabaseError(Exception):
    """A statement or a connection failed."""


class UnavailableError(DatabaseError):
    """It cannot be reached: the only cause worth waiting for."""


class ConflictError(DatabaseError):
    """Another transaction interfered; a retry can succeed at once."""


class BusyError(DatabaseError):
    """No connection was free in time, or a statement exceeded its time limit."""


class RejectedError(DatabaseError):
    """It is reachable and rejects the statement: a retry helps only after someone has acted."""


# Classes of SQLSTATE and whole ones: PostgreSQL's appendix A.
_CONNECTION = "08"
_UNAVAILABLE = {
    "25P03",  # idle in a transaction for too long, which ends the connection
    "53300",  # too many connections
    "57P01",  # an administrator's shutdown, or pg_terminate_backend
    "57P02",  # a crash
    "57P03",  # starting up, shutting down, or recovering
    "57P05",  # idle for too long
}
_CONFLICT = {"40001", "40P01"}  # a serialization failure, a deadlock
_BUSY = {"55P03", "57014"}  # no lock in time; cancelled, as by statement_timeout
_EXPLAINED = {
    "25006": "the database is read-only",
    "3F000": "its tables are not this release's; run `quotes migrate`",
    "42703": "its tables are not this release's; run `quotes migrate`",
    "42P01": "its tables are not this release's; run `quotes migrate`",
    "53100": "the disk of the database is full",
    "57014": "the statement took too long and was cancelled",
}
_WITH_SQLSTATE: tuple[type[Exception], ...] = (asyncpg.PostgresError,)
# In asyncpg's messages. The last is said from when the server's last message has arrived until the
# connection's end does: 2 is PROTOCOL_ERROR_CONSUME in asyncpg/protocol/coreproto.pxd.
_LOST = ("closed", "not connected", "another operation (2)")
_OF_THE_CLIENT: tuple[type[Exception], ...] = (asyncpg.InterfaceError, asyncpg.InternalClientError)


def error_of(error: BaseException) -> DatabaseError | None:
    """The error by its cause; None if it is not a database error."""
    if isinstance(error, PoolTimeoutError):
        return BusyError("no connection of this process became free in time")
    if isinstance(error, DBAPIError):
        return _of_sqlalchemy(error)
    if isinstance(error, OSError):  # TimeoutError is one
        reason = str(error) or "no answer in time"
        return UnavailableError(f"the database cannot be reached: {reason}")
    if isinstance(error, _WITH_SQLSTATE):
        return _of_sqlstate(getattr(error, "sqlstate", None) or "", str(error).partition("\n")[0])
    if isinstance(error, _OF_THE_CLIENT):
        return _of_interface(error)
    return None


def _of_sqlalchemy(error: DBAPIError) -> DatabaseError:
    cause = error.orig.__cause__ if error.orig is not None else None
    found = error_of(cause) if cause is not None else None
    if found is not None:
        return found
    if error.connection_invalidated or "closed" in str(error.orig):
        return UnavailableError("the database cannot be reached: the connection was lost")
    return RejectedError(f"the database refused: {error.orig}")


def _of_interface(error: Exception) -> DatabaseError:
    if any(sign in str(error) for sign in _LOST):
        return UnavailableError(f"the database cannot be reached: {error}")
    return RejectedError(f"the database cannot be used so: {error}")


def _of_sqlstate(sqlstate: str, message: str) -> DatabaseError:
    text = f"{_EXPLAINED.get(sqlstate, 'the database refused')}: {message} ({sqlstate})"
    if sqlstate.startswith(_CONNECTION) or sqlstate in _UNAVAILABLE:
        return UnavailableError(f"the database cannot be reached: {message} ({sqlstate})")
    if sqlstate in _CONFLICT:
        return ConflictError(text)
    return BusyError(text) if sqlstate in _BUSY else RejectedError(text)


class translated:  # noqa: N801  # it reads as a word after `with`
    """`with translated():` raises a driver's exceptions as this module's."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, DatabaseError):
            found = error_of(error)
            if found is not None:
                raise found from error
