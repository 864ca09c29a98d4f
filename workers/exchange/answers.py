"""Parsing Deribit's answers: the price and its time, or why there is none."""

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any

from quotes.market import tickers
from quotes.market.sources import Cause, Chart, Point, Retry, SourceError, Tick

MAX_BODY = 1 << 20  # bytes; a price answer takes 200
MAX_CHART = 8 << 20  # bytes; ten years of hourly points, or half a year's minutes, fit twice over

MAX_DIGITS = 40  # the most ever seen are 17
MAX_EXPONENT = 30
MAX_TEXT = 200

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# By the exchange's error codes. All others count as its own failures.
_MEANINGS: dict[int, tuple[Cause, Retry]] = {
    10028: (Cause.RATE_LIMITED, Retry.SOON),  # too_many_requests
    10066: (Cause.RATE_LIMITED, Retry.SOON),  # too_many_concurrent_requests
    10040: (Cause.UNAVAILABLE, Retry.SOON),  # retry
    10041: (Cause.UNAVAILABLE, Retry.SOON),  # settlement_in_progress
    10047: (Cause.UNAVAILABLE, Retry.SOON),  # matching_engine_queue_full
    11094: (Cause.UNAVAILABLE, Retry.SOON),  # internal_server_error
    13028: (Cause.UNAVAILABLE, Retry.SOON),  # temporarily_unavailable
    13888: (Cause.UNAVAILABLE, Retry.SOON),  # timed_out
    13025: (Cause.UNAVAILABLE, Retry.SLOWLY),  # switched off
    13503: (Cause.UNAVAILABLE, Retry.SLOWLY),  # unavailable
    11051: (Cause.MAINTENANCE, Retry.SLOWLY),  # system_maintenance
    11056: (Cause.REFUSED, Retry.SLOWLY),  # unauthenticated public requests disabled for now
    12005: (Cause.REFUSED, Retry.NEVER),  # country_is_banned
    -32602: (Cause.UNKNOWN_INDEX, Retry.NEVER),  # Invalid params: a price needs the name alone
    # A bug of ours, or a changed API: method not found, malformed, ...
    **dict.fromkeys(
        (-32601, -32700, -32600, -32000, 11050, 11029, 13020), (Cause.REFUSED, Retry.NEVER)
    ),
}
_UNLISTED = (Cause.UNAVAILABLE, Retry.SOON)

_SENTENCES = {
    Cause.RATE_LIMITED: "the exchange receives too many requests from this address",
    Cause.UNAVAILABLE: "the exchange cannot answer just now",
    Cause.MAINTENANCE: "the exchange is under maintenance",
    Cause.REFUSED: "the exchange refuses to answer",
    Cause.UNKNOWN_INDEX: "the exchange knows no index of this name, check QUOTES_TICKERS",
}


def read_tick(ticker: str, status: int, body: bytes, *, testnet: bool) -> Tick:
    """The tick. Raises SourceError for any other bytes."""
    answer = _success(ticker, status, body, testnet=testnet)
    result = answer["result"]
    if not isinstance(result, dict) or "index_price" not in result:
        raise _bad_answer(ticker, "has no index price")
    return Tick(ticker, price_of(ticker, result["index_price"]), _observed_at(ticker, answer))


def read_status(status: int, body: bytes, *, testnet: bool) -> object:
    """The result of `public/status`. Raises SourceError for any other bytes."""
    return _success("status", status, body, testnet=testnet)["result"]


def read_names(status: int, body: bytes, *, testnet: bool) -> frozenset[str]:
    """The names of the exchange's list that can be tickers. Raises SourceError where none is."""
    result = _success("indexes", status, body, testnet=testnet)["result"]
    names = frozenset(filter(_is_ticker, result if isinstance(result, list) else ()))
    if not names:
        raise _bad_answer("indexes", "has no list of them")
    return names


def _is_ticker(name: object) -> bool:
    try:
        return isinstance(name, str) and tickers.parse(name) == name
    except ValueError:
        return False


def read_chart(ticker: str, status: int, body: bytes, *, testnet: bool) -> Chart:
    """The points in order of time. Raises SourceError for anything but a chart.

    Items that are not a pair of milliseconds and a price are left out and counted.
    """
    answer = _success(ticker, status, body, testnet=testnet, max_bytes=MAX_CHART)
    if not isinstance(answer["result"], list):
        raise _bad_answer(ticker, "has no chart")
    points, left_out = [], Counter[str]()
    for item in answer["result"]:
        point = _point(item)
        if isinstance(point, Point):
            points.append(point)
        else:
            left_out[point] += 1
    return Chart(sorted(points, key=lambda point: point.at), left_out)


def _point(item: object) -> Point | str:
    """A point, or its fault."""
    match item:
        case [time, price]:
            exact = Decimal(price) if type(price) is int else price
            if not isinstance(exact, Decimal) or not _is_plausible(exact):
                return "without a price"
            if type(time) is not int:
                return "without a time in whole milliseconds"
            try:
                return Point(_EPOCH + timedelta(milliseconds=time), exact)
            except OverflowError:
                return "of an impossible time"
        case _:
            return "that are no pair of a time and a price"


def _success(
    ticker: str, status: int, body: bytes, *, testnet: bool, max_bytes: int = MAX_BODY
) -> dict[str, Any]:
    answer = parsed(body)
    error, result = answer.get("error"), answer.get("result")
    # Only an answer without a result may leave the flag out.
    if answer.get("testnet", testnet if result is None else None) is not testnet:
        raise _wrong_environment(ticker, answer.get("testnet"), expected=testnet)
    if isinstance(error, dict) and type(error.get("code")) is int:
        raise _exchange_error(ticker, error)
    if status != HTTPStatus.OK:
        raise _by_status(ticker, status, body)
    if len(body) > max_bytes:
        raise _bad_answer(ticker, f"is longer than {max_bytes} bytes")
    if result is None:
        raise _bad_answer(ticker, "is not what its API promises", detail=repr(_text(body)))
    return answer


def parsed(body: str | bytes) -> dict[str, Any]:
    """Empty if it is not a JSON object. NaN and infinities are read, as Decimals."""
    try:
        text = body if isinstance(body, str) else body.decode()
        answer = json.loads(text, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError, InvalidOperation):  # huge ints, deep nests, huge exponents
        return {}
    return answer if isinstance(answer, dict) else {}


def price_of(ticker: str, value: object) -> Decimal:
    if value is None:
        raise SourceError(Cause.NO_PRICE, f"{ticker}: the exchange has no price for it just now.")
    price = Decimal(value) if type(value) is int else value  # a bool is not a number here
    if not isinstance(price, Decimal) or not _is_plausible(price):
        message = f"{ticker}: the exchange gave {_shown(value)} where a price belongs."
        raise SourceError(Cause.BAD_PRICE, message)
    return price


def _is_plausible(price: Decimal) -> bool:
    if not price.is_finite() or price <= 0:
        return False
    _, digits, exponent = price.as_tuple()
    return len(digits) <= MAX_DIGITS and -MAX_EXPONENT <= int(exponent) <= MAX_EXPONENT


def _observed_at(ticker: str, answer: dict[str, Any]) -> datetime:
    micros = answer.get("usOut")
    if type(micros) is not int:
        raise _bad_answer(ticker, "does not say when it was given")
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise _bad_answer(ticker, "is of no possible time") from None


def _exchange_error(ticker: str, error: dict[str, Any]) -> SourceError:
    cause, retry = _MEANINGS.get(error["code"], _UNLISTED)
    data = error.get("data")
    more = (data.get("reason"), data.get("param")) if isinstance(data, dict) else (data,)
    text = ": ".join(part for part in (error.get("message"), *more) if isinstance(part, str))
    quoted = f"it says {one_line(text)!r}, code {_shown(error['code'])}"
    return SourceError(cause, f"{ticker}: {_SENTENCES[cause]} ({quoted}).", retry=retry)


def _by_status(ticker: str, status: int, body: bytes) -> SourceError:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        cause, sentence = Cause.RATE_LIMITED, _SENTENCES[Cause.RATE_LIMITED]
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        cause, sentence = Cause.UNAVAILABLE, _SENTENCES[Cause.UNAVAILABLE]
    else:  # a redirect is not followed: prices come from the configured host or not at all
        cause, sentence = Cause.BAD_ANSWER, "the exchange answered something else than its API"
    return SourceError(cause, f"{ticker}: {sentence} (HTTP {status}).", detail=repr(_text(body)))


def _wrong_environment(ticker: str, value: object, *, expected: bool) -> SourceError:
    message = (
        f"{ticker}: the answer says testnet: {_shown(value)} where "
        f"{_shown(expected)} belongs, check QUOTES_DERIBIT_URL."
    )
    return SourceError(Cause.WRONG_ENVIRONMENT, message, retry=Retry.NEVER)


def _bad_answer(ticker: str, what: str, detail: str = "") -> SourceError:
    message = f"{ticker}: the exchange's answer {what}."
    return SourceError(Cause.BAD_ANSWER, message, detail=detail)


def _shown(value: object) -> str:
    """As JSON; lists and objects are only named, as they may be nested too deeply."""
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "an object"
    return one_line(str(value) if isinstance(value, Decimal) else json.dumps(value))


def _text(body: bytes) -> str:
    """The text of an HTML page."""
    start = body[: 10 * MAX_TEXT].decode(errors="replace")
    return one_line(re.sub(r"<[^<>]*>", " ", start))


def one_line(text: str) -> str:
    """One short line that is safe for logs and terminals."""
    start = text[: 10 * MAX_TEXT]
    line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return line if len(line) <= MAX_TEXT else line[:MAX_TEXT] + "..."
