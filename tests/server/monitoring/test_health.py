"""What /healthz and /readyz report, and which hosts are rejected."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest
from client import Client, serving
from rows import NOON, insert, minute, quote, record, wait

from quotes.database.models import Failure, Origin, Quote
from quotes.database.sessions import Sessions
from quotes.server.monitoring import health
from quotes.settings import Settings


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        await client.data("{ tickers { name } }")
        yield client


async def test_readyz_reports_the_freshness_of_each_ticker_with_its_reason(
    client: Client, sessions: Sessions
) -> None:
    now = datetime.now(UTC)
    minute = now.replace(second=0, microsecond=0)
    await insert(
        sessions,
        Quote(
            ticker="btc_usd",
            minute=minute,
            price=Decimal(1),
            observed_at=now,
            source="demo",
            origin=Origin.LIVE,
        ),
    )
    await record(
        sessions,
        Failure(
            ticker="eth_usd",
            minute=minute,
            cause="MAINTENANCE",
            message="The exchange is under maintenance.",
            failed_at=now,
            attempts=1,
        ),
    )

    status, report = await wait(
        lambda: client.report("/readyz"),
        lambda found: "MAINTENANCE" in str(found[1].get("tickers")),
    )

    assert (status, report["ok"]) == (200, True)
    assert report["tickers"]["btc_usd"]["fresh"]
    assert report["tickers"]["eth_usd"] == {
        "fresh": False,
        "cause": "MAINTENANCE",
        "reason": "The exchange is under maintenance.",
    }
    assert report["migrations"]["ok"]
    assert report["feed"]["lagSeconds"] < timedelta(seconds=10).total_seconds()


async def test_without_a_database_the_process_lives_but_is_not_ready(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unanswering:
        port = unanswering.getsockname()[1]
    away = Settings.model_validate(
        settings.model_dump() | {"database_url": f"postgresql://quotes@127.0.0.1:{port}/quotes"}
    )
    async with serving(away) as client:
        assert (await client.report("/healthz"))[0] == 200
        status, report = await wait(
            lambda: client.report("/readyz"),
            lambda found: "cannot be reached" in str(found[1]["database"]),
        )
        code, _ = await client.refusal('{ latestPrice(ticker: "BTC") { price } }')

    assert status == 503
    assert "cannot be reached" in report["database"]["reason"]
    assert "never read" in report["feed"]["reason"]
    assert code == "UNAVAILABLE"


@pytest.mark.parametrize("host", ["prices.example.com", "127.0.0.1.example.com:8000", ""])
async def test_a_host_name_that_is_not_ours_is_refused(client: Client, host: str) -> None:
    async with client.http.get(f"{client.url}/healthz", headers={"Host": host}) as response:
        assert response.status == (421 if host else 200)


async def test_a_configured_origin_makes_its_host_ours(settings: Settings) -> None:
    ours = settings.model_copy(update={"allowed_origins": ("https://prices.example.com",)})
    async with (
        serving(ours) as client,
        client.http.get(
            f"{client.url}/healthz", headers={"Host": "prices.example.com"}
        ) as response,
    ):
        assert response.status == 200


async def test_a_front_end_of_a_configured_origin_may_query(settings: Settings) -> None:
    origin = "http://localhost:5173"
    ours = settings.model_copy(update={"allowed_origins": (origin,)})
    async with (
        serving(ours) as client,
        client.http.post(
            f"{client.url}/graphql",
            json={"query": "{ __typename }"},
            headers={"Origin": origin},
        ) as response,
    ):
        assert response.headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"5",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"query": 5}',
        b'{"query": "{ tickers { name } }", "variables": [NaN]}',
        b"{}",
    ],
)
async def test_a_body_that_is_no_request_is_refused_as_a_graphql_answer(
    client: Client, body: bytes
) -> None:
    headers = {"Content-Type": "application/json"}
    async with client.http.post(f"{client.url}/graphql", data=body, headers=headers) as response:
        assert response.status == 400
        (error,) = (await response.json())["errors"]

    assert error["extensions"]["code"] == "BAD_INPUT"
    assert re.search(r"[^.]\.$", error["message"])


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds is seen at once."""
    monkeypatch.setattr(health, "CHECK_EVERY", 0.05)


async def test_without_fresh_prices_it_is_ready_but_not_fresh(
    quickly: None, settings: Settings, sessions: Sessions
) -> None:
    async with serving(settings) as client:
        await insert(sessions, quote(at=1), quote("eth_usd", at=1))  # of January
        status, report = await wait(
            lambda: client.report("/freshz"), lambda found: "ageSeconds" in str(found[1])
        )
        ready, _ = await client.report("/readyz")
        now = (datetime.now(UTC) - NOON) // timedelta(minutes=1)
        await insert(sessions, quote(at=now))
        _, half = await wait(
            lambda: client.report("/freshz"), lambda found: found[1]["tickers"]["btc_usd"]["fresh"]
        )
        await insert(sessions, quote("eth_usd", at=now))
        await wait(lambda: client.report("/freshz"), lambda found: found[0] == 200)

    assert (status, report["ok"], ready) == (503, False, 200)
    assert half["ok"] is False


async def test_a_halt_makes_a_price_stale_at_once_and_another_failure_does_not(
    quickly: None, settings: Settings, sessions: Sessions
) -> None:
    now = datetime.now(UTC)
    at = (now - NOON) // timedelta(minutes=1)
    async with serving(settings) as client:
        await insert(sessions, quote("btc_usd", at=at), quote("eth_usd", at=at))
        for ticker, cause in (("eth_usd", "TIMEOUT"), ("btc_usd", "LOCKED")):
            failed = Failure(
                ticker=ticker,
                minute=minute(at + 1),
                cause=cause,
                message=f"{ticker}: it is {cause}.",
                failed_at=now,
                attempts=1,
            )
            await record(sessions, failed)
        _, report = await wait(
            lambda: client.report("/readyz"), lambda found: "LOCKED" in str(found[1])
        )
        # What was committed within the last tenth of a second may not be in an answer yet.
        both = "{ latestPrices { stale } }"
        await wait(lambda: client.data(both), lambda found: found == [STALE_ONE, FRESH])
        found = await client.data(STALE)
        await insert(sessions, quote("btc_usd", at=at + 1))  # as by another attempt
        await wait(lambda: client.data(both), lambda found: found == [FRESH, FRESH])
        after = await client.data(STALE)

    assert found["latestPrice"] == STALE_ONE
    assert found["latestPrices"] == [STALE_ONE, FRESH]
    assert found["prices"] == {"nodes": [STALE_ONE]}
    assert [each["last"] for each in found["tickers"]] == [STALE_ONE, FRESH]
    reason = "btc_usd: it is LOCKED."
    assert [each["staleReason"] for each in found["tickers"]] == [reason, None]
    states = report["tickers"]
    assert [states[name]["fresh"] for name in ("btc_usd", "eth_usd")] == [False, True]
    assert (states["btc_usd"]["cause"], states["btc_usd"]["reason"]) == ("LOCKED", reason)
    assert "cause" not in states["eth_usd"]
    assert after["latestPrices"] == [FRESH, FRESH]
    assert after["prices"] == {"nodes": [FRESH]}
    assert [each["staleReason"] for each in after["tickers"]] == [None, None]


STALE_ONE, FRESH = {"stale": True}, {"stale": False}
STALE = """{
    latestPrice(ticker: "BTC") { stale }
    latestPrices { stale }
    prices(ticker: "BTC", last: 1) { nodes { stale } }
    tickers { staleReason last { stale } }
}"""


async def test_a_ticker_that_nobody_requests_has_the_missing_part_as_its_reason(
    quickly: None, settings: Settings
) -> None:
    connection = await asyncpg.connect(settings.require_database_url())
    await connection.execute(
        "INSERT INTO heartbeats VALUES ('worker', now() - interval '200 s', NULL)"
    )
    await connection.close()
    async with serving(settings) as client:
        _, report = await wait(lambda: client.report("/freshz"), lambda found: "parts" in found[1])
        tickers = await client.data("{ tickers { staleReason } }")

    reason = "No worker has been seen for 3 minutes."
    assert report["tickers"]["btc_usd"] == {"fresh": False, "reason": reason}
    assert tickers == [{"staleReason": reason}] * 2
    assert report["parts"]["worker"]["reason"] == reason
    assert report["parts"]["scheduler"]["ok"] is False


async def test_it_is_not_ready_while_the_tables_are_not_this_release_s(
    quickly: None, settings: Settings, empty_database_url: str
) -> None:
    never = Settings.model_validate(settings.model_dump() | {"database_url": empty_database_url})
    async with serving(never) as client:
        status, report = await wait(
            lambda: client.report("/readyz"), lambda found: "migrations" in found[1]
        )
        code, _ = await client.refusal('{ latestPrice(ticker: "BTC") { price } }')

    assert status == 503
    assert "quotes migrate" in report["migrations"]["reason"]
    assert code == "INTERNAL"


async def test_health_is_answered_while_the_database_does_not_respond(
    quickly: None, settings: Settings, sessions: Sessions
) -> None:
    """From what is known already: nobody waits for the lock that the check waits for."""
    connection = await asyncpg.connect(settings.require_database_url())
    async with serving(settings) as client:
        await wait(lambda: client.report("/readyz"), lambda found: "tickers" in found[1])
        async with connection.transaction(), asyncio.timeout(9):
            await connection.execute("LOCK quotes, failures, high_water")

            assert (await client.report("/healthz"))[0] == 200
            for _ in range(20):
                assert (await client.report("/readyz"))[0] in {200, 503}
    await connection.close()
