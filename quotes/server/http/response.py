"""How an answer is sent over HTTP: its status, headers and coding."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from quotes.api.errors import Code
from quotes.api.plans.answers import Answer, Answers
from quotes.server.http import codings
from quotes.server.http.error_response import STATUS
from quotes.server.http.request import Media
from quotes.server.monitoring.query_metrics import OK
from quotes.server.operations import Streams

_HEADERS = {"Cache-Control": "no-store", "Vary": "Accept, Accept-Encoding, Authorization"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an operation: a GraphQL result, and why if it was not executed."""

    body: bytes
    code: Code | None = None  # of the error that prevented its execution
    answer: Answer | None = None  # whose body it is, where plans gave it
    retry_after: int | None = None  # seconds
    error: str = OK  # the code of the first error, even if there is data


def headers_of(media: Media) -> dict[str, str]:
    """Of every answer in this media type."""
    return {"Content-Type": f"{media}; charset=utf-8", **_HEADERS}


def response_of(outcome: Outcome, media: Media) -> Response:
    """With plain JSON only the body shows that a document is invalid: the status is 200."""
    if outcome.code is None:
        status = 200
    else:
        status = STATUS.get(outcome.code, 200 if media is Media.JSON else 400)
    headers = headers_of(media)
    if outcome.retry_after is not None:
        headers["Retry-After"] = str(outcome.retry_after)
    return Response(outcome.body, status, headers)


async def compress(
    request: Request, response: Response, answer: Answer | None, answers: Answers
) -> None:
    coding = codings.best(",".join(request.headers.getlist("accept-encoding")))
    if coding is None:
        return
    if answer is None:
        response.body = await codings.compressed(bytes(response.body), coding)
    else:
        response.body = await codings.coded(answer, coding, answers)
    response.headers["Content-Encoding"] = coding
    response.headers["Content-Length"] = str(len(response.body))


def validate(request: Request, response: Response, etag: str, streams: Streams) -> None:
    """Let a closed range's answer be cached, and answer 304 where the client has it.

    A late row may still arrive, so caches revalidate each time; the ETag is a weak one.
    """
    shared = "private" if streams.access.required else "public"
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = f"{shared}, no-cache"
    known = {each.strip().removeprefix("W/") for each in if_none_match(request)}
    if etag.removeprefix("W/") in known or "*" in known:
        response.status_code = 304
        response.body = b""
        del response.headers["content-length"]


def if_none_match(request: Request) -> list[str]:
    return ",".join(request.headers.getlist("if-none-match")).split(",")
