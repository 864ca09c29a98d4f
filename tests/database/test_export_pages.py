"""The pages and versions that files are made of, on each PostgreSQL that is promised."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from rows import insert, minute, quote, restore
from versions import on_each_postgres

from quotes.database import connections
from quotes.database.log.store import Span
from quotes.database.maintenance import removal
from quotes.database.models import Origin
from quotes.database.queries import exports
from quotes.database.sessions import Sessions

pytestmark = on_each_postgres

ALL = Span("btc_usd", minute(0), minute(100))


async def version(url: str) -> exports.Version:
    async with connections.open_pool(url, name="test", size=1) as pool:
        return await exports.version(pool, ALL)


async def lines(url: str, upto: int) -> tuple[list[str], int]:
    async with connections.open_pool(url, name="test", size=1) as pool:
        text, count = await exports.page(pool, ALL, upto, exports.CSV_ROW)
    return text.splitlines(), count


async def test_a_page_has_only_what_was_stored_up_to_a_seq(
    database_url: str, sessions: Sessions
) -> None:
    await insert(sessions, quote(at=0), quote(at=9, price="7.50"))
    upto = (await version(database_url)).last
    await insert(sessions, quote(at=5), quote("eth_usd", 1), quote(at=100))

    found, count = await lines(database_url, upto)

    assert (len(found), count) == (2, 2)
    assert found[1] == (
        "btc_usd,2026-01-31T12:09:00Z,7.50,2026-01-31T12:09:00.040000Z,false,demo,LIVE"
    )
    assert (await lines(database_url, upto + 9))[1] == 3


async def test_a_version_tells_what_a_span_holds(database_url: str, sessions: Sessions) -> None:
    assert await version(database_url) == exports.Version(0, 0, "", None, None)
    await insert(sessions, quote("eth_usd"), quote(at=3), quote(at=8), quote(at=100))

    found = await version(database_url)

    assert (found.count, found.first, found.newest) == (2, minute(3), minute(8))


async def test_each_change_of_the_span_is_another_version_and_no_other_is(
    database_url: str, sessions: Sessions
) -> None:
    seen = [await version(database_url)]
    for origin in Origin:
        await insert(sessions, quote(at=len(seen), origin=origin))
        seen.append(await version(database_url))
    await insert(sessions, quote("eth_usd", 50), quote(at=100))  # another ticker, another time
    assert await version(database_url) == seen[-1]
    await sessions.transact(
        partial(removal.remove, piece=removal.Extent("btc_usd", minute(1), minute(2)))
    )
    seen.append(await version(database_url))
    assert len({*seen}) == 5


@pytest.mark.parametrize("changed", ["price", "at"])
async def test_a_restored_log_with_the_same_seqs_is_another_version(
    database_url: str, sessions: Sessions, changed: str
) -> None:
    await insert(sessions, quote(at=0))
    await insert(sessions, quote(at=9))
    before = await version(database_url)
    await restore(sessions, upto=1)
    await insert(sessions, quote(at=8) if changed == "at" else quote(at=9, price="7"))

    after = await version(database_url)

    assert (after.count, after.last) == (before.count, before.last)
    assert after != before


async def test_times_of_whole_seconds_have_no_fraction(
    database_url: str, sessions: Sessions
) -> None:
    whole = quote()
    whole.observed_at = datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC)
    other = quote(at=1)
    other.observed_at = minute(1) + timedelta(microseconds=1)
    await insert(sessions, whole, other)

    found, _ = await lines(database_url, 9)

    assert [line.split(",")[3] for line in found] == [
        "2026-01-31T12:00:01Z",
        "2026-01-31T12:01:00.000001Z",
    ]
