"""Prices collected from the stand-in exchange, at any minute of the past."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from quotes.database.sessions import Sessions
from workers.collecting import Collector
from workers.demo.exchange import Exchange, serve
from workers.exchange.deribit import Deribit, open_http
from workers.exchange.pacing import Pace

BOTH = ["btc_usd", "eth_usd"]
STEP = timedelta(minutes=1)


class Market:
    """The stand-in exchange and the collecting of its prices, one minute of the past at a time."""

    def __init__(self, exchange: Exchange, source: Deribit, sessions: Sessions) -> None:
        self.exchange = exchange
        self._source = source
        self._sessions = sessions
        self.this_minute = datetime.now(UTC).replace(second=0, microsecond=0)
        exchange.clock = lambda: self._at + timedelta(seconds=1)

    async def collect(self, minutes_ago: int, *, btc: str, eth: str = "3000.5") -> None:
        self.exchange.prices |= {"btc_usd": btc, "eth_usd": eth}
        self._at = self.this_minute - minutes_ago * STEP
        await Collector(self._source, self._sessions).collect(self._at, BOTH)


@pytest.fixture
async def market(sessions: Sessions) -> AsyncIterator[Market]:
    exchange = Exchange()
    async with serve(exchange) as url, open_http(url) as http:
        yield Market(exchange, Deribit(http, url, Pace(rate=1_000)), sessions)
