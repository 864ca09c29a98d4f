"""A history may be read from answers that are not of just now, and nothing is missed for it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import virtual_time
from rows import NOON

from quotes.client import history
from quotes.client.endpoint import ATTEMPTS, SILENCE, TIMEOUT, Endpoint, Limits
from quotes.client.places import HistoryPlace
from quotes.live.newest import BOUND

COMMITTED = 10.0  # seconds; when the only quote was
QUOTE = {
    "ticker": "btc_usd",
    "at": NOON.isoformat(),
    "price": "100000.5",
    "observedAt": NOON.isoformat(),
    "source": "demo",
    "origin": "LIVE",
    "cursor": "s1",
}


class Service(Endpoint):
    """A service whose pages are as old as its answers may be, and whose end is of just now."""

    def __init__(self) -> None:
        limits = Limits(timeout=TIMEOUT, silence=SILENCE, attempts=ATTEMPTS)
        super().__init__("http://127.0.0.1", limits, token=None, ssl=None)

    async def query(self, document: str, variables: Mapping[str, object]) -> dict[str, Any]:
        now = asyncio.get_running_loop().time()
        if "series" in document:
            return {"series": {"cursor": "s1" if now >= COMMITTED else "s0"}}
        nodes = [QUOTE] if now - BOUND >= COMMITTED else []
        return {"prices": {"nodes": nodes, "pageInfo": {"hasNextPage": False, "endCursor": None}}}


def test_a_quote_committed_just_before_a_history_was_begun_is_in_it() -> None:
    async def follow() -> tuple[str, list[str]]:
        await asyncio.sleep(COMMITTED)  # of virtual time
        service = Service()
        place = HistoryPlace.of(await history.begin(service, ["btc_usd"], NOON))
        assert place is not None
        quotes = [each async for each in history.quotes(service, ["btc_usd"], place)]
        return place.end, [each.ticker for each in quotes]

    assert virtual_time.run(follow) == ("s1", ["btc_usd"])  # the stream goes on after it
