"""The operation in one HTTP request, and the media types that it accepts."""

from enum import StrEnum
from typing import Any

from starlette.requests import Request

from quotes.api.plans.persisted import PersistedQueries
from quotes.server.graphql_request import MalformedError, Operation, json_of
from quotes.server.http.error_response import RequestError
from quotes.server.http.qualities import qualities

METHODS = ("GET", "HEAD", "OPTIONS", "POST")
ALLOW = {"Allow": ", ".join(METHODS)}


class Media(StrEnum):
    """What an answer can be sent as."""

    JSON = "application/json"
    RESPONSE = "application/graphql-response+json"
    EVENTS = "text/event-stream"


_WILDCARDS = {"*/*", "application/*"}  # they leave the choice to us, which is JSON


def accepted(request: Request) -> list[Media]:
    """What the client takes of what there is, the best first; never empty.

    Raises RequestError (406) where it takes none of it.
    """
    header = ",".join(request.headers.getlist("accept"))
    media = preferences(header) if header.strip() else [Media.JSON]
    if request.method == "HEAD":
        media = [each for each in media if each is not Media.EVENTS]
    if not media:
        raise RequestError(
            406, f"Answers are {', '.join(Media)}; name one of them in the Accept header."
        )
    return media


def preferences(accept: str) -> list[Media]:
    """As `accepted`, of an Accept header; maybe empty."""
    given = qualities(accept)
    refused = {name for name, quality in given if quality <= 0}
    names: list[str] = []
    for name, _ in sorted(given, key=lambda each: -each[1]):  # stable: of equals the first
        names += [Media.JSON, Media.RESPONSE] if name in _WILDCARDS else [name]
    taken = [name for name in dict.fromkeys(names) if name not in refused]
    return [Media(name) for name in taken if name in set(Media)]


async def operation_of(request: Request, persisted: PersistedQueries) -> Operation:
    """From the URL of a GET or HEAD, the JSON body of a POST.

    Raises RequestError, RefusedError for a persisted query that cannot be had, and starlette's
    ClientDisconnect where the client leaves meanwhile.
    """
    try:
        if request.method == "POST":
            _require_json(request)
            return Operation.of(persisted.resolved(json_of(await request.body())))
        return Operation.of(persisted.resolved(_url_parameters(request)))
    except MalformedError as error:
        raise RequestError(400, str(error)) from None


def _require_json(request: Request) -> None:
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise RequestError(
            415,
            "A request's body is not compressed; send it without Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )
    name, *parameters = (
        part.strip().lower() for part in request.headers.get("content-type", "").split(";")
    )
    charsets = [each.partition("=")[2] for each in parameters if each.startswith("charset=")]
    if name != Media.JSON or any(each.strip('"') not in {"utf-8", "utf8"} for each in charsets):
        raise RequestError(
            415,
            "A POST is JSON in UTF-8; send it with `Content-Type: application/json`.",
            headers={"Accept-Post": Media.JSON},
        )


def _url_parameters(request: Request) -> dict[str, Any]:
    """An empty parameter is none: some clients send `&variables=`."""
    given: dict[str, Any] = {name: text for name, text in request.query_params.items() if text}
    for name in ("variables", "extensions"):
        if name in given:
            given[name] = json_of(given[name])
    return given
