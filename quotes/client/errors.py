"""What can go wrong, as exceptions whose text is a sentence for people.

Each code of docs/errors.md has a class, with the service's own sentence.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar


class QuotesError(Exception):
    """Whatever goes wrong between this client and the service."""


class AddressError(QuotesError):
    """The URL is not that of a quotes service; the sentence says what is there."""


class UnreachableError(QuotesError):
    """Nothing answers at the URL, or not in time; also what a proxy answers in its place."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds, where they are known


class RefusedError(QuotesError):
    """The service has refused a request. One with a code that is unknown here is of this class."""

    code: str = ""
    passes: ClassVar[bool] = False  # the same request may be answered later

    def __init__(self, message: str, extensions: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.code = extensions.get("code", self.code)
        self.extensions = extensions
        self.retry_after: float | None = extensions.get("retryAfter")  # seconds


class BadInputError(RefusedError):
    """The request cannot be answered as it is, and would be refused again."""

    code = "BAD_INPUT"


class UnknownTickerError(RefusedError):
    """A ticker is neither collected by the service nor stored there; see `tickers`."""

    code = "UNKNOWN_TICKER"


class StalePriceError(RefusedError):
    """The newest price is older than `max_age`."""

    code = "STALE_PRICE"

    def __init__(self, message: str, extensions: Mapping[str, Any]) -> None:
        super().__init__(message, extensions)
        self.price, self.at = _last_good(extensions)
        self.age_seconds: float | None = extensions.get("ageSeconds")
        self.cause: str | None = extensions.get("cause")


class UncertainPriceError(RefusedError):
    """The exchanges that the newest price is made of are further apart than `max_spread`.

    Or that is not known: then `spread` and `percent` are None.
    """

    code = "UNCERTAIN_PRICE"

    def __init__(self, message: str, extensions: Mapping[str, Any]) -> None:
        super().__init__(message, extensions)
        self.price, self.at = _last_good(extensions)
        self.spread = _decimal(extensions.get("spread"))  # in the price's unit
        self.percent = _decimal(extensions.get("percent"))


class RetiredError(RefusedError):
    """The minutes before `retired_before` are no longer kept, but for their candles of hours."""

    code = "RETIRED"

    def __init__(self, message: str, extensions: Mapping[str, Any]) -> None:
        super().__init__(message, extensions)
        self.retired_before = _moment(extensions.get("retiredBefore"))


class UnauthenticatedError(RefusedError):
    """The access token is missing, unknown, or was removed."""

    code = "UNAUTHENTICATED"


class TooManyError(RefusedError):
    """This client has as much open at once as it may."""

    code = "TOO_MANY"
    passes = True


class ThrottledError(RefusedError):
    """This client has spent the points that it may in a minute."""

    code = "THROTTLED"
    passes = True


class OverloadedError(RefusedError):
    """More is requested of the service than it can answer in time."""

    code = "OVERLOADED"
    passes = True


class CursorLostError(RefusedError):
    """The log no longer has the quote to go on after, as after a restore of a backup.

    Some quotes that were committed after `after` may never be streamed. `prices` and
    `follow(since=)` have those that the database has. `cursor` is where the log ended when this
    was noticed, and `follow(after=)` goes on from there; None where that could not be read.
    """

    code = "CURSOR_LOST"

    def __init__(self, message: str, extensions: Mapping[str, Any]) -> None:
        super().__init__(message, extensions)
        self.after: str | None = None
        self.last_minute: datetime | None = None  # of what was delivered last, if anything was
        self.cursor: str | None = None


class UnavailableError(RefusedError):
    """The service's database cannot be reached."""

    code = "UNAVAILABLE"
    passes = True


class PersistedQueryNotFoundError(RefusedError):
    """The service does not know the document of a hash; `query` with persisted queries only."""

    code = "PERSISTED_QUERY_NOT_FOUND"


class InternalError(RefusedError):
    """A fault of the service, which has logged it."""

    code = "INTERNAL"


CODES = {kind.code: kind for kind in RefusedError.__subclasses__()}


def refused(error: Mapping[str, Any]) -> RefusedError:
    """Of an entry in `errors` of an answer."""
    extensions = error.get("extensions") or {}
    kind = CODES.get(extensions.get("code", ""), RefusedError)
    return kind(str(error.get("message", "The service did not say why.")), extensions)


def _last_good(extensions: Mapping[str, Any]) -> tuple[Decimal | None, datetime | None]:
    """The newest price that there is, and its minute."""
    last = extensions.get("lastGood")
    return (Decimal(last["price"]), datetime.fromisoformat(last["at"])) if last else (None, None)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
