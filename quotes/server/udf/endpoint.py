"""`/udf/config`, `/udf/symbols`, `/udf/search`, `/udf/history` and `/udf/time`."""

from hashlib import blake2b
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from quotes.api.errors import RefusedError, bad_input
from quotes.server.http import codings
from quotes.server.http.endpoint import require_entered
from quotes.server.http.error_response import RequestError, file_status, retry_after
from quotes.server.http.response import compress, validate
from quotes.server.operations import Streams
from quotes.server.udf.history import history
from quotes.server.udf.parameters import Parameters
from quotes.server.udf.symbols import CONFIG, search, symbol

PREFIX = "/udf/"
ALLOW = {"Allow": "GET, HEAD, OPTIONS"}
VARY = "Accept-Encoding, Authorization"


class UdfEndpoint:
    """The ASGI application. Each request has passed `http.endpoint.enter`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method == "OPTIONS":
            await Response(status_code=204, headers=ALLOW)(scope, receive, send)
            return
        streams: Streams = request.app.state.streams
        try:
            response = await _answer(request, streams)
        except RequestError as error:
            response = _error(error.status, str(error), dict(error.headers or {}))
        except RefusedError as refusal:
            response = _error(file_status(refusal), refusal.message, retry_after(refusal))
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["Vary"] = VARY
        if len(response.body) > codings.SHORT:
            await compress(request, response, None, streams.plans.answers)
        await response(scope, receive, send)


async def _answer(request: Request, streams: Streams) -> Response:
    """Raises RequestError and RefusedError."""
    if request.method not in {"GET", "HEAD"}:
        raise RequestError(405, "Charts are read by GET.", headers=ALLOW)
    require_entered(request.scope, streams)
    parameters = Parameters(request.query_params)
    match request.path_params["name"]:
        case "config":
            return _json(CONFIG)
        case "time":
            return PlainTextResponse(str(int(streams.context.now().timestamp())))
        case "symbols":
            return _json(await symbol(streams, parameters))
        case "search":
            return _json(await search(streams, parameters))
        case "history":
            return await _history(request, streams, parameters)
    raise bad_input("There are /udf/config, /udf/symbols, /udf/search, /udf/history and /udf/time.")


async def _history(request: Request, streams: Streams, parameters: Parameters) -> Response:
    bars = await history(streams, parameters)
    response = Response(bars.body, media_type="application/json")
    if bars.answer is not None and bars.answer.closed(streams.context.now()):
        etag = f'W/"{blake2b(bars.body, digest_size=12).hexdigest()}"'
        validate(request, response, etag, streams)
    return response


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def _error(status: int, message: str, headers: dict[str, str]) -> Response:
    body = orjson.dumps({"s": "error", "errmsg": message})
    return Response(body, status, headers, media_type="application/json")
