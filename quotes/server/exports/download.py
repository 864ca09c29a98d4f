"""How a file is answered: whole, compressed, in part, or not again."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from quotes.database.connections import Pool
from quotes.database.queries.exports import Version
from quotes.export.digests import Digest, Digests
from quotes.export.files import File, Format, read
from quotes.server.exports.payment import Payment
from quotes.server.http import codings, ranges
from quotes.server.http.codings import Coding
from quotes.server.http.error_response import error_response
from quotes.server.http.long_answer import LONGEST, encoded, send_long
from quotes.server.http.ranges import Part, UnsatisfiableError
from quotes.server.http.response import if_none_match
from quotes.server.limits.export_limits import ExportLimits
from quotes.server.operations import Streams

MEDIA = {
    Format.CSV: "text/csv; charset=utf-8; header=present",
    Format.JSONL: "application/x-ndjson; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
}
VARY = {"Vary": "Accept-Encoding, Authorization"}


@dataclass(frozen=True, slots=True)
class Exports:
    """What all exports of a process share."""

    pool: Pool
    limits: ExportLimits
    digests: Digests


@dataclass(frozen=True, slots=True)
class Download:
    """A file of a version, to be sent to whom the request is from."""

    request: Request
    streams: Streams
    exports: Exports
    file: File
    version: Version

    async def send(self, send: Send) -> None:
        """As `digest` and `send_long` raise, before anything is sent."""
        request, headers = self.request, self.request.headers
        coding = self._coding()
        if not self.closed:
            await self._send(send, 200, self._headers(coding), self._pieces(), coding)
            return
        if self._is_known():
            await Response(status_code=304, headers=self._headers(coding))(
                request.scope, request.receive, send
            )
            return
        digest = self.exports.digests.of(self.file, self.tag)
        if digest is None and (request.method == "HEAD" or "range" in headers):
            digest = await self.digest()
        try:
            part = self._part(digest)
        except UnsatisfiableError:
            await self._unsatisfiable(digest)(request.scope, request.receive, send)
            return
        fields = self._headers(coding)
        if digest is not None and coding is None:
            fields["Content-Length"] = str(digest.size if part is None else part.length)
        if part is None:
            await self._send(send, 200, fields, self._pieces(), coding)
            return
        assert digest is not None
        fields["Content-Range"] = f"bytes {part.first}-{part.last}/{digest.size}"
        await self._send(send, 206, fields, _cut(self._pieces(), part), None)

    @property
    def closed(self) -> bool:
        return self.file.period.closed(self.streams.context.now())

    @property
    def tag(self) -> str:
        return self.file.tag(self.version)

    async def digest(self) -> Digest:
        """Of the file, which is read for it where it has not been yet.

        Raises DatabaseError, ChangedError and TimeoutError.
        """
        known = self.exports.digests.of(self.file, self.tag)
        if known is None:
            async with asyncio.timeout(LONGEST):
                async for _ in self._pieces():
                    pass
            known = self.exports.digests.of(self.file, self.tag)
        assert known is not None
        return known

    def _pieces(self) -> AsyncGenerator[bytes]:
        pay = Payment(self.streams.budgets).pay
        pieces = read(self.exports.pool, self.file, self.version, pay)
        return self.exports.digests.noted(self.file, self.tag, pieces)

    async def _send(
        self,
        send: Send,
        status: int,
        headers: dict[str, str],
        pieces: AsyncGenerator[bytes],
        coding: Coding | None,
    ) -> None:
        if self.request.method == "HEAD":
            response = Response(status_code=status, headers=headers)
            if "Content-Length" not in headers:
                del response.headers["content-length"]
            await response(self.request.scope, self.request.receive, send)
            return
        body = pieces if coding is None else encoded(pieces, coding)
        await send_long(self.request, send, self.streams, status, headers, body)

    def _headers(self, coding: Coding | None) -> dict[str, str]:
        fields = {
            **VARY,
            "Content-Type": MEDIA[self.file.format],
            "Content-Disposition": f'attachment; filename="{self.file.name}"',
            "Cache-Control": "no-store",
        }
        if coding is not None:
            fields["Content-Encoding"] = coding
        if self.closed:
            shared = "private" if self.streams.access.required else "public"
            fields["Cache-Control"] = f"{shared}, no-cache"  # a late row may still arrive
            fields["ETag"] = self._etag(coding)
            fields["Accept-Ranges"] = "bytes"
        return fields

    def _etag(self, coding: Coding | None) -> str:
        """A strong one, of the bytes as they are sent."""
        return f'"{self.tag}"' if coding is None else f'"{self.tag}-{coding}"'

    def _coding(self) -> Coding | None:
        """None for a range, which is of the file itself, and for what is compressed already."""
        headers = self.request.headers
        if "range" in headers or self.file.format is Format.PARQUET:
            return None
        return codings.best(",".join(headers.getlist("accept-encoding")))

    def _is_known(self) -> bool:
        sent = {each.strip().removeprefix("W/") for each in if_none_match(self.request)}
        etags = {self._etag(coding) for coding in (None, *codings.OF_ANSWERS)}
        return "*" in sent or not sent.isdisjoint(etags)

    def _part(self, digest: Digest | None) -> Part | None:
        """Raises UnsatisfiableError. If the client's part is of other bytes, it gets the whole."""
        headers = self.request.headers
        if digest is None or "range" not in headers or self.request.method == "HEAD":
            return None
        if headers.get("if-range", self._etag(None)) != self._etag(None):
            return None
        return ranges.part(headers["range"], digest.size)

    def _unsatisfiable(self, digest: Digest | None) -> Response:
        assert digest is not None
        message = f"The file has {digest.size:,} bytes; ask for a range that begins within them."
        headers = {"Content-Range": f"bytes */{digest.size}"}
        return error_response(416, message, headers=headers)


async def _cut(pieces: AsyncGenerator[bytes], part: Part) -> AsyncGenerator[bytes]:
    """Of the pieces those bytes."""
    at = 0
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece[max(part.first - at, 0) : max(part.last + 1 - at, 0)]
            at += len(piece)
            if at > part.last:
                return
