"""Reading Deribit's WebSocket messages. Facts are from its documentation of `public/subscribe`."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from quotes.market.constituents import MOST
from quotes.market.sources import SourceError
from workers.exchange.answers import parsed, price_of

PRICE = "deribit_price_index."  # the channel of an index's prices, before the index's name
RANKING = "deribit_price_ranking."  # the channel of the exchanges that the index is made of
STATE = "platform_state"
FUTURE = timedelta(seconds=5)  # a price's own time is no further ahead of the exchange's clock
MAX_MESSAGE = 1 << 20  # bytes; the longest, a reply to a subscription, takes 20,000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reply:
    """To the request of this number."""

    number: int
    result: object  # None for an error
    code: int | None  # of an error
    sent_at: datetime | None  # by the exchange's clock
    testnet: bool | None


@dataclass(frozen=True, slots=True)
class IndexPrice:
    """A message of an index's channel. `price` is None where there is none that can be kept."""

    ticker: str
    price: Decimal | None
    observed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A message of an index's constituents, as they are in the JSON."""

    ticker: str
    rows: list[object]


@dataclass(frozen=True, slots=True)
class Lock:
    """An index is locked or unlocked."""

    ticker: str
    locked: bool


@dataclass(frozen=True, slots=True)
class TestRequest:
    """The exchange ends the connection unless it is answered at once."""


Message = Reply | IndexPrice | Ranking | Lock | TestRequest


def read(text: str) -> Message | None:
    """None for what is of no use here, as a heartbeat."""
    match parsed(text):
        case {"id": int(number), **rest}:
            return _reply(number, rest)
        case {"method": "subscription", "params": {"channel": str(channel), "data": data}}:
            if channel.startswith(RANKING):
                return _ranking(channel.removeprefix(RANKING), data)
            return _notification(channel, data)
        case {"method": "heartbeat", "params": {"type": "test_request"}}:
            return TestRequest()
    return None


def _reply(number: int, answer: dict[str, Any]) -> Reply:
    error = answer.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    micros, testnet = answer.get("usOut"), answer.get("testnet")
    return Reply(
        number,
        None if error else answer.get("result"),
        code if type(code) is int else None,
        moment(micros, timedelta(microseconds=1)),
        testnet if isinstance(testnet, bool) else None,
    )


def _ranking(ticker: str, data: object) -> Ranking | None:
    """A list; one object of it in an older documentation."""
    rows = data if isinstance(data, list) else [data]
    return Ranking(ticker, rows) if 0 < len(rows) <= MOST else None


def _notification(channel: str, data: object) -> Message | None:
    if not isinstance(data, dict):
        return None
    if channel == STATE:
        match data:
            case {"price_index": str(ticker), "locked": bool(locked)}:
                return Lock(ticker, locked)
        return None
    if not channel.startswith(PRICE):
        return None
    ticker = channel.removeprefix(PRICE)
    if data.get("index_name", ticker) != ticker:
        return None
    price = None
    with suppress(SourceError):  # asking by HTTP names its cause
        price = price_of(ticker, data.get("price"))
    return IndexPrice(ticker, price, moment(data.get("timestamp"), timedelta(milliseconds=1)))


def moment(value: object, unit: timedelta) -> datetime | None:
    """None for what is no time."""
    if type(value) is not int:
        return None
    try:
        return _EPOCH + value * unit
    except OverflowError:
        return None
