"""Where prices come from: the Protocol of a source, and the causes of its failures."""

import ipaddress
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from math import inf
from typing import Protocol
from urllib.parse import urlsplit

LIVE_HOST = "www.deribit.com"
TESTNET_HOST = "test.deribit.com"
DEMO = "demo"  # the name of every source whose prices are made up


# How far this host's clock may differ from the exchange's: what is more is not compensated for, and
# what is less is not worth a word, as a slow answer can cause it.
MAX_COMPENSATED, LOG_THRESHOLD = timedelta(seconds=30), timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Tick:
    """An index price as received from an exchange."""

    ticker: str
    price: Decimal  # finite, above zero, the exchange's own digits
    observed_at: datetime  # aware UTC, by the exchange's own clock
    # Whether that is when the exchange made this price, not when it answered a request for it.
    exact_time: bool = False
    # How far that clock was ahead of this host's, within half the round-trip time.
    clock_ahead: timedelta = field(default=timedelta(), compare=False)


@dataclass(frozen=True, slots=True)
class Point:
    """One point of an exchange's chart: the average price of the chart's step around a moment."""

    at: datetime  # aware UTC, by the exchange's own clock
    price: Decimal  # finite, above zero, the exchange's own digits


@dataclass(frozen=True, slots=True)
class Chart:
    """The usable points of a chart, in order of time, and a count of the others."""

    points: list[Point]
    left_out: Counter[str] = field(default_factory=Counter)  # points by their fault


class Range(StrEnum):
    """How much of the past a chart holds, up to now; the finest first."""

    HOUR = "1h"
    DAY = "1d"
    TWO_DAYS = "2d"
    MONTH = "1m"
    YEAR = "1y"
    ALL = "all"


class Cause(StrEnum):
    """Why a ticker has no quote for a minute."""

    UNREACHABLE = "UNREACHABLE"
    TIMEOUT = "TIMEOUT"
    RATE_LIMITED = "RATE_LIMITED"
    UNAVAILABLE = "UNAVAILABLE"
    MAINTENANCE = "MAINTENANCE"
    REFUSED = "REFUSED"
    UNKNOWN_INDEX = "UNKNOWN_INDEX"
    NO_PRICE = "NO_PRICE"
    BAD_PRICE = "BAD_PRICE"
    BAD_ANSWER = "BAD_ANSWER"
    WRONG_ENVIRONMENT = "WRONG_ENVIRONMENT"
    OUTSIDE_MINUTE = "OUTSIDE_MINUTE"
    FROZEN = "FROZEN"  # the exchange answers, but its price's own time does not move
    LOCKED = "LOCKED"  # the exchange says so of the index
    NOT_ASKED = "NOT_ASKED"  # also of gaps for which nothing is recorded


# Of an index for which the exchange itself makes no price, as at night or in trouble of its own.
HALTS = frozenset({Cause.LOCKED, Cause.FROZEN})


class Priority(IntEnum):
    """The order in which queued requests are sent, the most urgent first."""

    LIVE = 0  # a ticker's first request of a minute
    RETRY = 1
    PROBE = 2  # of a ticker that has recently been unresponsive
    REPAIR = 3
    BACKFILL = 4


class Retry(StrEnum):
    """Whether a retry within the same minute can succeed."""

    SOON = "SOON"
    SLOWLY = "SLOWLY"
    NEVER = "NEVER"


class SourceError(Exception):
    """The source has no price that can be stored.

    The message is one sentence that clients may see; `detail` is for the operator's log only.
    """

    def __init__(
        self, cause: Cause, message: str, *, retry: Retry = Retry.SOON, detail: str = ""
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.detail = detail
        self.retry = retry


class Source(Protocol):
    """One exchange, reached over one session."""

    @property
    def name(self) -> str:
        """The value of `Quote.source`; made-up prices never have the real exchange's name."""
        ...

    async def tick(
        self,
        ticker: str,
        minute: datetime,
        /,
        *,
        priority: Priority = Priority.LIVE,
        within: float = inf,
    ) -> Tick:
        """The first price of the minute that begins at `minute`, as far as the source knows it.

        Else the current one, which may be of another minute; its time shows that. Within `within`
        seconds. Raises SourceError if there is none.

        Requests queue by priority. The cause is NOT_ASKED if the request could not be sent in time,
        TIMEOUT if the answer was late.
        """
        ...

    async def index_names(self) -> frozenset[str]:
        """All that it has now, and never none. Raises SourceError if that cannot be known."""
        ...

    async def index_chart(
        self, ticker: str, span: Range, *, priority: Priority = Priority.BACKFILL
    ) -> Chart:
        """The chart's points, oldest first. Raises SourceError if there is no chart."""
        ...


class MixedError(Exception):
    """Made-up and real prices would be mixed in one database. The message says what to do."""


def require_one_kind(stored: Collection[str], *, made_up: bool) -> None:
    """Raises MixedError if stored quotes are of the other kind than `made_up`."""
    if made_up and any(source != DEMO for source in stored):
        raise MixedError(
            "The database of QUOTES_DATABASE_URL holds real prices, and made-up ones would mix "
            "with them. Set it to another database; where it is unset, `up` has one of its own."
        )
    if not made_up and DEMO in stored:
        raise MixedError(
            "The database of QUOTES_DATABASE_URL holds made-up prices, and real ones would mix "
            "with them. Set it to another database, or go on with the demo."
        )


def name_of(url: str) -> str:
    """The `Quote.source` of an exchange at `url`.

    Only the exchange's own host is named `deribit`. On loopback, and by a container's bare name,
    it can only be a stand-in. Any other host, as a mirror, is named as it is.
    """
    host = host_of(url)
    if is_loopback(host) or "." not in host:
        return DEMO
    return {LIVE_HOST: "deribit", TESTNET_HOST: "deribit-testnet"}.get(host, host)


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
