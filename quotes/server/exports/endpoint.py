"""`/export/btc_usd/2026-11.csv`: what is asked for, and who may ask."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from quotes.api.context import Context, require_kept, require_known
from quotes.api.errors import RETRY_AFTER, Code, RefusedError, bad_input, refusal_of
from quotes.database.errors import DatabaseError
from quotes.database.queries import exports
from quotes.export.files import ChangedError, File, Format
from quotes.export.parquet import HOW, ParquetError
from quotes.export.periods import Period
from quotes.market import tickers
from quotes.server.access import client_of
from quotes.server.exports.download import Download, Exports
from quotes.server.exports.manifest import ENDING, manifest
from quotes.server.exports.payment import Payment
from quotes.server.http import long_answer
from quotes.server.http.endpoint import require_entered
from quotes.server.http.error_response import RequestError, error_response, refusal_response
from quotes.server.limits.connection_limits import TooManyConnectionsError
from quotes.server.operations import Streams

PREFIX = "/export/"
ALLOW = {"Allow": "GET, HEAD, OPTIONS"}
SHAPE = "/export/TICKER/PERIOD.FORMAT, as in /export/btc_usd/2026-11-24.csv"


class ExportEndpoint:
    """The ASGI application. Each request has passed `http.endpoint.enter`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method == "OPTIONS":
            await Response(status_code=204, headers=ALLOW)(scope, receive, send)
            return
        try:
            await _serve(request, send, request.app.state.streams, request.app.state.exports)
        except RequestError as error:
            await error.response()(scope, receive, send)
        except RefusedError as refusal:
            await refusal_response(refusal)(scope, receive, send)
        except DatabaseError as error:
            await refusal_response(refusal_of(error))(scope, receive, send)
        except (ChangedError, ParquetError, TimeoutError):
            await refusal_response(_again())(scope, receive, send)
        except TooManyConnectionsError as error:
            response = error_response(503, str(error), code=Code.TOO_MANY)
            await response(scope, receive, send)


async def _serve(request: Request, send: Send, streams: Streams, shared: Exports) -> None:
    if request.method not in {"GET", "HEAD"}:
        raise RequestError(405, "Files are read by GET.", headers=ALLOW)
    scope = request.scope
    require_entered(scope, streams)
    file, is_manifest = _requested(request.path_params["path"], streams.context)
    await require_kept(streams.context, file.span.since)
    with shared.limits.begun(client_of(scope), long_answer.direct(request).cut):
        Payment(streams.budgets).begin(file.period)
        version = await exports.version(shared.pool, file.span)
        if not version.count:
            await require_known(streams.context, [file.ticker])
        download = Download(request, streams, shared, file, version)
        if is_manifest:
            await (await manifest(download))(scope, request.receive, send)
        else:
            await download.send(send)


def _requested(path: str, context: Context) -> tuple[File, bool]:
    """The file, and whether it is the manifest of its period that is asked for.

    Raises RefusedError for what cannot be a file.
    """
    folder, slash, name = path.partition("/")
    period, dot, ending = name.rpartition(".")
    if not (folder and slash and period and dot):
        raise bad_input(f"Files are at {SHAPE}.")
    try:
        ticker, wanted = tickers.parse(folder), Period.parse(period)
        form = Format.CSV if ending == ENDING else Format.parse(ending)
    except ValueError as error:
        raise bad_input(f"{error}.") from None
    if wanted.since > context.now():
        raise bad_input(f"{period} has not begun yet; ask for today, in UTC, or the past.")
    if form not in (available := Format.available()):
        raise bad_input(
            f"This server has no {form}: ask for {' or '.join(available)}, or let its operator run "
            f"`{HOW}`."
        )
    return File(ticker, wanted, form), ending == ENDING


def _again() -> RefusedError:
    message = "The file could not be read to its end. Try again."
    return RefusedError(Code.OVERLOADED, message, retryAfter=RETRY_AFTER)
