"""What is in the files of a period: `/export/btc_usd/2026-11.json`."""

from dataclasses import replace
from typing import Any

import orjson
from starlette.responses import Response

from quotes.api.scalars import utc_text
from quotes.export.files import Format
from quotes.server.exports.download import VARY, Download
from quotes.server.http import codings
from quotes.server.http.response import compress
from quotes.server.own_queries import data

ENDING = "json"

_GAPS = """query ($ticker: Ticker!, $from: DateTime!, $to: DateTime!) {
  gaps(ticker: $ticker, from: $from, to: $to) {
    expected missing repaired coverage more nodes { from to minutes cause repaired } } }"""


async def manifest(download: Download) -> Response:
    """Of the period of the download's file, whose format does not matter.

    Raises RefusedError; DatabaseError, ChangedError, ParquetError and TimeoutError.
    """
    file, version = download.file, download.version
    since, until = utc_text(file.period.since), utc_text(file.period.until)
    bounds = {"from": since, "to": until}
    found, _ = await data(download.streams, _GAPS, ticker=file.ticker, **bounds)
    gaps = found["gaps"]
    body: dict[str, Any] = {
        "ticker": file.ticker,
        "period": file.period.text,
        **bounds,
        "closed": download.closed,
        "count": version.count,
        **{name: gaps[name] for name in ("expected", "missing", "repaired", "coverage")},
        "gaps": gaps["nodes"],
        "moreGaps": gaps["more"],
        "files": {
            each.value: await _described(replace(download, file=replace(file, format=each)))
            for each in Format.available()
        },
    }
    headers = {**VARY, "Cache-Control": "no-store"}
    response = Response(orjson.dumps(body), media_type="application/json", headers=headers)
    if len(response.body) > codings.SHORT:
        await compress(download.request, response, None, download.streams.plans.answers)
    return response


async def _described(download: Download) -> dict[str, Any]:
    """Its name; of a closed period its length and hash, for which it may have to be read."""
    name = f"{download.file.period.text}.{download.file.format}"
    if not download.closed:
        return {"name": name, "bytes": None, "sha256": None}
    digest = await download.digest()
    return {"name": name, "bytes": digest.size, "sha256": digest.sha256}
