"""The client of a stand-in's WebSocket, whose clock goes on from a known minute."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from workers.demo.exchange import Exchange, serve
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace
from workers.exchange.streamed import StreamedDeribit, open_streamed

MINUTE = datetime(2026, 9, 20, 21, 17, tzinfo=UTC)


class Clock:
    """The exchange's: it goes on from so many seconds into MINUTE."""

    def __init__(self, seconds: float) -> None:
        self._ahead = MINUTE + timedelta(seconds=seconds) - datetime.now(UTC)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead


@asynccontextmanager
async def opened(exchange: Exchange) -> AsyncIterator[StreamedDeribit]:
    async with (
        serve(exchange) as url,
        open_http(url) as http,
        open_streamed(http, url, Deribit(http, url, Pace(rate=1_000))) as source,
    ):
        yield source
