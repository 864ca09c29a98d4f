"""Where subscribers begin, while others commit."""

import pytest
from rows import insert, names, quote
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes.database.log import store
from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.live.snapshots import Snapshot


async def test_a_snapshot_ends_where_its_cursor_is_although_more_is_committed_meanwhile(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert(sessions, quote("btc_usd", 1), quote("eth_usd", 1))
    high_water = store.high_water

    async def then_more_is_committed(session: AsyncSession) -> int:
        end = await high_water(session)
        await insert(sessions, quote("btc_usd", 3))
        await insert(sessions, quote("btc_usd", 2, origin=Origin.REPAIRED))
        return end

    monkeypatch.setattr(store, "high_water", then_more_is_committed)

    end, quotes = await Snapshot(sessions, None).read()

    assert end == 2
    assert names(quotes) == [("btc_usd", 1), ("eth_usd", 1)]
    assert [each.seq for each in quotes] == [1, 2]
