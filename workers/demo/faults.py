"""Faults that can be injected for a ticker of the stand-in exchange."""

import json
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus

from aiohttp import web

Reply = tuple[int, str]  # HTTP status, and the member of the envelope that says it


class Fault(StrEnum):
    UNKNOWN_INDEX = "UNKNOWN_INDEX"
    RATE_LIMITED = "RATE_LIMITED"
    MAINTENANCE = "MAINTENANCE"
    HTTP_429 = "HTTP_429"
    HTTP_502 = "HTTP_502"
    REDIRECT = "REDIRECT"
    INVALID_JSON = "INVALID_JSON"
    HUGE = "HUGE"
    DISCONNECT = "DISCONNECT"
    TIMEOUT = "TIMEOUT"  # no answer until the client disconnects or the fault is removed
    SLOW = "SLOW"
    WRONG_TESTNET = "WRONG_TESTNET"
    NULL = "NULL"
    ZERO = "ZERO"
    NEGATIVE = "NEGATIVE"
    NAN = "NAN"
    INT = "INT"
    SCIENTIFIC = "SCIENTIFIC"
    LOCKED = "LOCKED"  # as platform_state and public/status tell
    FROZEN = "FROZEN"  # the price, and its own time, stay what they are
    SILENT = "SILENT"  # no messages over the WebSocket
    UNLISTED = "UNLISTED"  # not accepted where the WebSocket is subscribed to it
    # Of the exchanges that the index is made of:
    OUTLIER = "OUTLIER"  # one is at ten times the price, and used: the index is wrong, too
    ALONE = "ALONE"  # only one is there, as an object in place of a list
    NAMELESS = "NAMELESS"  # what is sent of them cannot be understood
    UNRANKED = "UNRANKED"  # their channel is not accepted
    RANKING_SILENT = "RANKING_SILENT"  # their channel brings nothing


def result(text: str) -> Reply:
    return HTTPStatus.OK, f'"result":{text}'


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def error_reply(code: int, message: str, **data: str) -> Reply:
    error = {"code": code, **({"data": data} if data else {}), "message": message}
    return HTTPStatus.BAD_REQUEST, f'"error":{compact(error)}'


# The real error for an unknown index is not documented; only the code is certain.
UNKNOWN_INDEX = error_reply(-32602, "Invalid params", reason="invalid index", param="index_name")


def bad_param(name: str) -> Reply:
    return error_reply(-32602, "Invalid params", reason="wrong format", param=name)


ERRORS: dict[Fault, Reply] = {
    Fault.UNKNOWN_INDEX: UNKNOWN_INDEX,
    Fault.RATE_LIMITED: error_reply(10028, "too_many_requests"),
    Fault.MAINTENANCE: error_reply(11051, "system_maintenance"),
}

PRICES: dict[Fault, str] = {
    Fault.NULL: "null",
    Fault.ZERO: "0",
    Fault.NEGATIVE: "-80814.47",
    Fault.NAN: "NaN",
    Fault.INT: "101848",
    Fault.SCIENTIFIC: "1.6433e-4",
}


def _page(status: HTTPStatus) -> web.Response:
    title = f"{status.value} {status.phrase}"
    html = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    )
    return web.Response(status=status, text=html, content_type="text/html")


def _half(request: web.Request) -> web.Response:
    text = '{"jsonrpc":"2.0","result":{"index_price":'
    return web.Response(text=text, content_type="application/json")


def _redirect(request: web.Request) -> web.Response:
    response = _page(HTTPStatus.FOUND)
    response.headers["Location"] = "/"
    return response


def _huge(request: web.Request) -> web.Response:
    """Four times what a client should accept, and small while compressed."""
    text = '{"jsonrpc":"2.0","result":' + " " * (4 << 20) + "{}}"
    return web.Response(text=text, content_type="application/json", zlib_executor_size=1 << 16)


def _disconnect(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(text="")


RESPONSES: dict[Fault, Callable[[web.Request], web.Response]] = {
    Fault.HTTP_429: lambda _: _page(HTTPStatus.TOO_MANY_REQUESTS),
    Fault.HTTP_502: lambda _: _page(HTTPStatus.BAD_GATEWAY),
    Fault.REDIRECT: _redirect,
    Fault.INVALID_JSON: _half,
    Fault.HUGE: _huge,
    Fault.DISCONNECT: _disconnect,
}
