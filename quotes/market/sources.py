"""Where prices come from: the Protocol a source keeps, and how its failures are told apart."""

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


@dataclass(frozen=True, slots=True)
class Tick:
    """An index price as an exchange told it."""

    ticker: str
    price: Decimal  # finite, above zero, the exchange's own digits
    observed_at: datetime  # aware UTC, by the exchange's own clock
    # How far that clock was ahead of this host's, give or take half the time of the answer.
    clock_ahead: timedelta = field(default=timedelta(), compare=False)


@dataclass(frozen=True, slots=True)
class Point:
    """One point of an exchange's chart: the average price of the chart's step around a moment."""

    at: datetime  # aware UTC, by the exchange's own clock
    price: Decimal  # finite, above zero, the exchange's own digits


@dataclass(frozen=True, slots=True)
class Chart:
    """The points of a chart that can be used, in the order of time, and what else was in it."""

    points: list[Point]
    left_out: Counter[str] = field(default_factory=Counter)  # points by what is wrong with them


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
    NOT_ASKED = "NOT_ASKED"  # also of gaps for which nothing is recorded


class Priority(IntEnum):
    """Who is served first where requests wait for each other, the most urgent first."""

    LIVE = 0  # a ticker's first request of a minute
    RETRY = 1
    PROBE = 2  # of a ticker that was not answered lately
    REPAIR = 3
    BACKFILL = 4


class Retry(StrEnum):
    """Whether asking again within the same minute can help."""

    SOON = "SOON"
    SLOWLY = "SLOWLY"
    NEVER = "NEVER"


class SourceError(Exception):
    """The source gave no price that can be kept.

    The message is one sentence for whoever reads prices; `detail` is for the operator's log alone.
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
        """What `Quote.source` says; never the name of the real exchange for made-up prices."""
        ...

    async def tick(
        self, ticker: str, *, priority: Priority = Priority.LIVE, within: float = inf
    ) -> Tick:
        """The price now, at most `within` seconds later. Raises SourceError where none can be had.

        Requests wait for their turn, the more urgent ones in front. NOT_ASKED is the cause where
        the turn did not come in time, TIMEOUT where the answer did not.
        """
        ...

    async def index_chart(
        self, ticker: str, span: Range, *, priority: Priority = Priority.BACKFILL
    ) -> Chart:
        """The chart's points, oldest first. Raises SourceError where there is no chart."""
        ...


class MixedError(Exception):
    """Made-up prices and real ones would come together in one database. The message mends it."""


def require_one_kind(kept: Collection[str], *, made_up: bool) -> None:
    """Raises MixedError where what is kept is from sources of the other kind."""
    if made_up and any(source != DEMO for source in kept):
        raise MixedError(
            "The database of QUOTES_DATABASE_URL holds real prices, and made-up ones would mix "
            "with them. Set it to another database; where it is unset, `up` has one of its own."
        )
    if not made_up and DEMO in kept:
        raise MixedError(
            "The database of QUOTES_DATABASE_URL holds made-up prices, and real ones would mix "
            "with them. Set it to another database, or go on with the demo."
        )


def name_of(url: str) -> str:
    """What `Quote.source` says of an exchange at `url`.

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
