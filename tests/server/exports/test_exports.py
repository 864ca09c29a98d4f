"""Files of quotes over HTTP: their digits, their caching, their ranges, and their bounds."""

import asyncio
import csv
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import aiohttp
import pytest
import zstandard
from client import Client, serving
from connection import Connection, changed, connection
from days import fill_days
from processes import free_port
from pydantic import SecretStr
from rows import insert, minute, quote, until, wait

from quotes.database import tokens
from quotes.database.maintenance import removal
from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.server import process
from quotes.server.exports import payment
from quotes.server.http import long_answer
from quotes.server.limits import export_limits
from quotes.server.protocol import stalls
from quotes.settings import Settings

DAY = "btc_usd/2026-01-31.csv"
MONTH = "btc_usd/2026-01.csv"
# A micro price, a settlement average, zeros at the end, and one that a float has no digits for.
PRICES = ["0.000000001230", "91892.123456789012", "100000.50", "12345678901234567.8901"]
TOKEN = "qt_first"  # noqa: S105  # of this test
SMALL = 4_096  # bytes that wait in the kernel for a reader that does not read


@pytest.fixture
async def client(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    await insert(sessions, *(quote(at=at, price=price) for at, price in enumerate(PRICES)))
    async with serving(settings) as client:
        yield client


async def got(client: Client, path: str, **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = {"Accept-Encoding": "identity", **sent}
    async with client.http.get(f"{client.url}/export/{path}", headers=fields) as response:
        return response, await response.read()


async def refused(client: Client, path: str) -> tuple[int, str, str]:
    """The status, the code and the sentence."""
    response, body = await got(client, path)
    (error,) = json.loads(body)["errors"]
    return response.status, error["extensions"]["code"], error["message"]


async def test_a_csv_file_has_each_digit_and_all_that_is_known_of_a_quote(client: Client) -> None:
    response, body = await got(client, DAY)

    rows = [*csv.DictReader(body.decode().splitlines())]
    assert [row["price"] for row in rows] == PRICES
    assert rows[1] == {
        "ticker": "btc_usd",
        "at": "2026-01-31T12:01:00Z",
        "price": "91892.123456789012",
        "observedAt": "2026-01-31T12:01:00.040000Z",
        "exactTime": "false",
        "source": "demo",
        "origin": "LIVE",
    }
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert 'filename="btc_usd-2026-01-31.csv"' in response.headers["Content-Disposition"]


async def test_the_lines_of_a_jsonl_file_are_what_a_query_of_the_day_answers(
    client: Client,
) -> None:
    fields = "ticker at price observedAt exactTime source origin"
    query = f'{{ prices(ticker: "BTC", date: "2026-01-31") {{ nodes {{ {fields} }} }} }}'
    _, body = await got(client, "BTC/2026-01-31.jsonl")

    assert [json.loads(line) for line in body.splitlines()] == (await client.data(query))["nodes"]


async def test_a_source_that_a_csv_has_to_quote_is_quoted(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote(source='a"b,c'))
    async with serving(settings) as client:
        _, body = await got(client, DAY)

    assert [*csv.DictReader(body.decode().splitlines())][-1]["source"] == 'a"b,c'


async def test_a_period_without_quotes_is_a_file_without_lines(client: Client) -> None:
    assert (await got(client, "btc_usd/2020.csv"))[1] == (
        b"ticker,at,price,observedAt,exactTime,source,origin\n"
    )
    assert (await got(client, "btc_usd/2020.jsonl"))[1] == b""


@pytest.mark.parametrize("origin", [Origin.REPAIRED, Origin.BACKFILLED])
async def test_a_closed_period_is_304_until_a_row_comes_late(
    client: Client, sessions: Sessions, origin: Origin
) -> None:
    first, _ = await got(client, MONTH)
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "public, no-cache"

    for known in (etag, f'"other", W/{etag}', "*"):
        again, nothing = await got(client, MONTH, If_None_Match=known)
        assert (again.status, nothing) == (304, b"")
    await insert(sessions, quote(at=9, price="7", origin=origin))

    late, body = await got(client, MONTH, If_None_Match=etag)
    assert (late.status, body.count(b"\n")) == (200, 6)


async def test_a_period_whose_quotes_were_removed_is_sent_anew(
    client: Client, sessions: Sessions
) -> None:
    first, _ = await got(client, MONTH)
    await sessions.transact(
        partial(removal.remove, piece=removal.Extent("btc_usd", minute(1), minute(2)))
    )

    again, body = await got(client, MONTH, If_None_Match=first.headers["ETag"])

    assert (again.status, body.count(b"\n")) == (200, 4)


async def test_a_period_that_is_not_over_is_not_stored_by_anyone(client: Client) -> None:
    response, _ = await got(client, f"btc_usd/{datetime.now(UTC):%Y}.csv")

    assert response.headers["Cache-Control"] == "no-store"
    assert not {"ETag", "Accept-Ranges"} & response.headers.keys()


async def test_each_coding_holds_the_same_file_under_an_etag_of_its_own(
    client: Client, sessions: Sessions
) -> None:
    await fill_more(sessions, 2)
    plain, file = await got(client, MONTH)
    etags = {plain.headers["ETag"]}
    plain_of = {
        "gzip": gzip.decompress,
        "zstd": zstandard.ZstdDecompressor().decompressobj().decompress,
    }

    async with aiohttp.ClientSession(auto_decompress=False) as http:
        for coding, decompress in plain_of.items():
            async with http.get(
                f"{client.url}/export/{MONTH}", headers={"Accept-Encoding": coding}
            ) as response:
                assert response.headers["Content-Encoding"] == coding
                assert decompress(await response.read()) == file
                etags.add(response.headers["ETag"])

    assert len(etags) == 3


async def fill_more(sessions: Sessions, days: int) -> None:
    """Full days, in place of what is stored."""
    extent = removal.Extent("btc_usd", minute(0), minute(60))
    await sessions.transact(partial(removal.remove, piece=extent))
    await fill_days(sessions, days)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100000-250000", 100_000, 250_000),
        ("bytes=100000-", 100_000, None),
        ("bytes=-1000", -1_000, None),
        ("bytes=3-999999999", 3, None),
    ],
)
async def test_a_range_is_of_the_bytes_of_the_file(
    client: Client, sessions: Sessions, asked: str, first: int, last: int | None
) -> None:
    await fill_more(sessions, 3)
    _, file = await got(client, MONTH)
    wanted = file[first : None if last is None else last + 1]

    response, body = await got(client, MONTH, Range=asked)

    begin = first % len(file)
    place = f"bytes {begin}-{begin + len(wanted) - 1}/{len(file)}"
    assert (response.status, response.headers["Content-Range"]) == (206, place)
    assert response.headers["Content-Length"] == str(len(wanted))
    assert body == wanted


@pytest.mark.parametrize("asked", ["bytes=5-3", "bytes=-", "lines=0-5", "bytes=0-1,5-6"])
async def test_what_is_no_single_range_is_answered_with_the_file(
    client: Client, asked: str
) -> None:
    _, file = await got(client, DAY)

    response, body = await got(client, DAY, Range=asked)

    assert (response.status, body) == (200, file)


@pytest.mark.parametrize("asked", ["bytes=999999-", "bytes=-0"])
async def test_a_range_behind_the_end_is_refused_with_where_that_is(
    client: Client, asked: str
) -> None:
    _, file = await got(client, DAY)

    response, body = await got(client, DAY, Range=asked)

    assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{len(file)}")
    assert json.loads(body)["errors"][0]["extensions"]["code"] == "BAD_INPUT"


async def test_the_rest_of_a_file_that_has_changed_is_the_whole_file(
    client: Client, sessions: Sessions
) -> None:
    first, _ = await got(client, DAY)
    rest = {"Range": "bytes=50-", "If_Range": first.headers["ETag"]}
    assert (await got(client, DAY, **rest))[0].status == 206
    await insert(sessions, quote(at=9, price="7"))

    response, body = await got(client, DAY, **rest)

    assert (response.status, body.count(b"\n")) == (200, 6)


async def test_head_tells_the_length(client: Client) -> None:
    _, file = await got(client, DAY)

    identity = {"Accept-Encoding": "identity"}
    async with client.http.head(f"{client.url}/export/{DAY}", headers=identity) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(file)))


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("btc_usd/2026-02-30.csv", "BAD_INPUT", "no 2026-02-30 in the calendar"),
        ("btc_usd/yesterday.csv", "BAD_INPUT", "is no period; write the UTC day"),
        ("btc_usd/2999.csv", "BAD_INPUT", "has not begun yet"),
        ("btc_usd/2026.xlsx", "BAD_INPUT", "write one of csv, jsonl, parquet"),
        ("btc_usd/2026", "BAD_INPUT", "Files are at /export/TICKER/PERIOD.FORMAT"),
        ("btc_usd", "BAD_INPUT", "Files are at /export/TICKER/PERIOD.FORMAT"),
        ("a/b/2026.csv", "BAD_INPUT", "is no period"),
        ("b!tc/2026.csv", "BAD_INPUT", "is not a ticker"),
        ("nosuch_usd/2026.csv", "UNKNOWN_TICKER", "Unknown here: nosuch_usd"),
    ],
)
async def test_what_cannot_be_a_file_is_refused_with_what_to_change(
    client: Client, path: str, code: str, words: str
) -> None:
    status, found, message = await refused(client, path)

    assert (status, found) == (404 if code == "UNKNOWN_TICKER" else 400, code)
    assert words in message


async def test_a_file_is_only_read(client: Client) -> None:
    async with client.http.post(f"{client.url}/export/{DAY}") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_a_foreign_host_name_is_refused(client: Client) -> None:
    for path in (f"export/{DAY}", "udf/config"):
        headers = {"Host": "evil.example"}
        async with client.http.get(f"{client.url}/{path}", headers=headers) as response:
            assert response.status == 421


async def test_without_a_database_files_and_charts_are_unavailable(settings: Settings) -> None:
    nowhere = SecretStr(f"postgresql://nobody@127.0.0.1:{free_port()}/quotes")
    async with serving(changed(settings, database_url=nowhere)) as client:
        for path in (DAY, MONTH.replace("csv", "json")):
            assert (await refused(client, path))[:2] == (503, "UNAVAILABLE")
        path = "history?symbol=btc_usd&resolution=60&from=0&to=1800000000"
        async with client.http.get(f"{client.url}/udf/{path}") as response:
            body = await response.json()
    assert (response.status, body["s"]) == (503, "error")
    assert "The database cannot be reached just now" in body["errmsg"]


@asynccontextmanager
async def stalled(client: Client, path: str = MONTH) -> AsyncIterator[Connection]:
    """A connection whose file has begun, and is not read on."""
    async with connection(client.url) as reader:
        await reader.send(b"GET /export/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
        await reader.head()
        yield reader


def whole(body: bytes) -> bool:
    """Whether a chunked body has its last chunk."""
    return body.endswith(b"\r\n0\r\n\r\n")


@pytest.fixture
async def few(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    """A service of a month, which sends one export at once."""
    await fill_days(sessions, 31)
    one = changed(settings, max_exports=1, tickers=("btc_usd",))
    async with serving(one, send_buffer=SMALL) as client:
        yield client


async def test_more_exports_than_may_be_are_refused_until_one_has_ended(few: Client) -> None:
    async with stalled(few):
        response, body = await got(few, DAY)
        (error,) = json.loads(body)["errors"]

        assert (response.status, error["extensions"]["code"]) == (503, "OVERLOADED")
        assert response.headers["Retry-After"] == "5"
        assert await few.data('{ latestPrice(ticker: "BTC") { ticker } }') == {"ticker": "btc_usd"}

    response, _ = await wait(lambda: got(few, DAY), lambda found: found[0].status == 200)
    limits = few.state.exports.limits
    assert limits.refused_total >= 1
    assert limits.begun_total >= 2


async def test_one_client_never_has_all_exports(settings: Settings, sessions: Sessions) -> None:
    await fill_days(sessions, 31)
    two = changed(settings, max_exports=2)
    async with serving(two, send_buffer=SMALL) as client, stalled(client):
        assert (await got(client, DAY))[0].status == 503
        async with connection(client.url, source="127.0.0.2") as other:
            head = b"GET /export/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % DAY.encode()
            await other.send(head)
            assert b"200 OK" in await other.head()


async def test_a_client_that_has_had_its_turn_leaves_its_place_to_another(
    few: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little it reads; and one of its own exports never does."""
    monkeypatch.setattr(stalls, "STALL_TIMEOUT", 120.0)
    monkeypatch.setattr(export_limits, "TURN", 0.0)

    async with stalled(few) as slow:
        assert (await got(few, DAY))[0].status == 503
        async with connection(few.url, source="127.0.0.2") as other:
            await other.send(b"GET /export/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % DAY.encode())
            assert b"200 OK" in await other.head()

        assert not whole(await slow.rest())


async def test_a_client_that_does_not_read_is_cut_off(
    few: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "STALL_TIMEOUT", 0.3)

    async with stalled(few) as reader:
        await until(lambda: few.state.exports.limits.running == 0)

        assert not whole(await reader.rest())


async def test_a_client_that_reads_for_too_long_is_cut_off(
    settings: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "USER_TIMEOUT", 120_000)  # ms, of the kernel
    monkeypatch.setattr(stalls, "STALL_TIMEOUT", 120.0)
    monkeypatch.setattr(long_answer, "LONGEST", 0.3)
    await fill_days(sessions, 31)

    async with serving(settings, send_buffer=SMALL) as client, stalled(client) as reader:
        await until(lambda: client.state.exports.limits.running == 0)

        assert not whole(await reader.rest())


async def test_a_file_is_of_the_moment_it_was_asked_for(few: Client, sessions: Sessions) -> None:
    async with stalled(few, "btc_usd/2026.csv") as reader:
        await insert(sessions, quote(at=1_440 * 5, price="7", origin=Origin.BACKFILLED))
        body = await reader.rest_of_chunks()

    assert body.count(b"btc_usd,2026-") == 31 * 1_440


async def test_a_file_whose_quotes_are_removed_meanwhile_is_not_taken_for_whole(
    few: Client, sessions: Sessions
) -> None:
    async with stalled(few) as reader:
        extent = removal.Extent("btc_usd", minute(-1_440), minute(0))
        await sessions.transact(partial(removal.remove, piece=extent))

        assert not whole(await reader.rest())


async def test_an_export_does_not_hold_up_the_end_of_a_process(
    settings: Settings, sessions: Sessions
) -> None:
    await fill_days(sessions, 31)
    async with serving(settings, send_buffer=SMALL) as client, stalled(client) as reader:
        client.server.should_exit = True

        assert not whole(await reader.rest())


async def test_a_file_asks_for_an_access_token_and_ends_with_it(
    settings: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quotes.server.access.REFRESH", 0.05)
    await fill_days(sessions, 31)
    assert await sessions.transact(partial(tokens.add, name="first", token=TOKEN))
    closed = changed(settings, access="token")
    async with serving(closed, send_buffer=SMALL) as client:
        response, body = await got(client, DAY)
        assert (response.status, b"UNAUTHENTICATED" in body) == (401, True)
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        response, body = await got(client, DAY, **bearer)
        assert (response.status, body.count(b"\n")) == (200, 1_441)
        assert response.headers["Cache-Control"] == "private, no-cache"

        async with connection(client.url) as reader:
            head = b"GET /export/%b HTTP/1.1\r\nHost: localhost\r\n" % MONTH.encode()
            await reader.send(head + b"Authorization: Bearer %b\r\n\r\n" % TOKEN.encode())
            await reader.head()
            assert await sessions.transact(partial(tokens.remove, name="first"))

            assert not whole(await reader.rest())


async def test_who_has_spent_a_budget_is_throttled_and_a_file_under_way_waits(
    settings: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill_days(sessions, 4)
    async with serving(changed(settings, points_per_minute=1_000)) as client:
        await client.report("/readyz")
        budgets = client.state.streams.budgets
        monkeypatch.setattr(payment, "WRITTEN", 174.0)  # 252 points a day: the fourth is too dear
        clock = Clock()
        monkeypatch.setattr(budgets, "_clock", clock)
        reading = asyncio.create_task(got(client, MONTH))
        await until(lambda: clock.looked > 4)
        assert not reading.done()

        assert (await got(client, "btc_usd/2020.csv"))[0].status == 200
        status, code, message = await refused(client, "btc_usd/2020.csv")
        assert (status, code) == (429, "THROTTLED")
        assert "Try again in" in message
        clock.now += 60
        assert (await reading)[1].count(b"\n") == 4 * 1_440 + 1


class Clock:
    now = 1_000.0
    looked = 0

    def __call__(self) -> float:
        self.looked += 1
        return self.now
