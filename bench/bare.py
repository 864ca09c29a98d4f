"""The limit of bench/queries: `python bare.py PORT DATABASE_URL`, Starlette and asyncpg alone."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta

import asyncpg
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

LATEST = """
    SELECT one.ticker, price::text, minute, observed_at
    FROM unnest($1::text[]) AS wanted (ticker), LATERAL (
        SELECT * FROM quotes
        WHERE quotes.ticker = wanted.ticker ORDER BY minute DESC LIMIT 1) AS one
"""
SPAN = """
    SELECT minute, price::text, seq FROM quotes
    WHERE ticker = $1 AND minute >= $2 AND minute < $3 ORDER BY minute
"""


async def latest(request: Request) -> Response:
    return await rows(request, LATEST, request.query_params["ticker"].split(","))


async def day(request: Request) -> Response:
    since = datetime.combine(date.fromisoformat(request.query_params["day"]), time(), UTC)
    ticker = request.query_params["ticker"]
    return await rows(request, SPAN, ticker, since, since + timedelta(days=1))


async def rows(request: Request, statement: str, *arguments: object) -> Response:
    found = await request.app.state.pool.fetch(statement, *arguments)
    body = orjson.dumps({"rows": [dict(row) for row in found]})
    return Response(body, media_type="application/json")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with asyncpg.create_pool(sys.argv[2], min_size=1, max_size=8) as app.state.pool:
        yield


if __name__ == "__main__":
    routes = [Route("/latest", latest), Route("/day", day)]
    app = Starlette(routes=routes, lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
