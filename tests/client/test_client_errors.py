"""What the client raises, and what it tries again, for whatever is wrong on the way."""

import asyncio
import logging
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from client import Client, serving
from nginx import needs_nginx, nginx
from processes import free_port
from relay import relayed
from rows import insert, minute, quote

from quotes.client import (
    AddressError,
    AsyncClient,
    BadInputError,
    QuotesError,
    RefusedError,
    StalePriceError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
    UncertainPriceError,
    UnknownTickerError,
    UnreachableError,
)
from quotes.client.errors import CODES, refused
from quotes.database import tokens
from quotes.database.maintenance import migrations
from quotes.database.sessions import Sessions, open_engine
from quotes.local.embedded import Postgres
from quotes.settings import Settings

TOKEN = "qt_secret-of-the-test"  # noqa: S105
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def service(settings: Settings, sessions: Sessions) -> AsyncIterator[Client]:
    await insert(sessions, quote())
    async with serving(settings) as service:
        yield service


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """The URL of a server that is none of ours."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def both_ways(url: str, **more: Any) -> list[QuotesError]:
    """What a query raises, and what following raises."""
    raised = []
    async with AsyncClient(url, **more) as client:
        for attempt in (client.latest, lambda: anext(client.follow(after="s0"))):
            with pytest.raises(QuotesError) as caught:
                await attempt()
            raised.append(caught.value)
    return raised


async def test_each_code_is_raised_as_its_own_exception_with_the_service_s_sentence() -> None:
    for code, kind in CODES.items():
        error = refused({"message": "Why.", "extensions": {"code": code, "retryAfter": 2}})
        assert (type(error), error.code, str(error), error.retry_after) == (kind, code, "Why.", 2)
    unknown = refused({"message": "Why.", "extensions": {"code": "NEW"}})
    assert (type(unknown), unknown.code) == (RefusedError, "NEW")


async def test_what_the_service_refuses_has_its_sentence(service: Client) -> None:
    async with AsyncClient(service.url) as client:
        with pytest.raises(UnknownTickerError, match="Unknown here: nosuch_usd"):
            await client.prices("nosuch")
        with pytest.raises(UnknownTickerError, match="Unknown here: nosuch_usd"):
            await anext(client.follow(["BTC", "nosuch"], after="s0"))
        with pytest.raises(BadInputError, match="does not belong here"):
            await anext(client.follow(after="nonsense"))
        with pytest.raises(StalePriceError) as stale:
            await client.latest_price("BTC", max_age="90s")
        with pytest.raises(UncertainPriceError, match="is not known") as uncertain:
            await client.latest_price("BTC", max_spread="0.5%")

    assert (stale.value.price, stale.value.at) == (Decimal("100000.5"), minute(0))
    assert (stale.value.age_seconds or 0) > 90
    assert stale.value.cause == "NOT_ASKED"
    assert (uncertain.value.at, uncertain.value.spread) == (minute(0), None)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("127.0.0.1:8000", "begins with http"),
        ("ws://127.0.0.1:8000", "begins with http"),
        ("http://", "begins with http"),
        ("http://[", "is no URL"),
        ("http://127.0.0.1:99999999", "is no URL"),
        ("http://user:secret@127.0.0.1", "Give the access token as `token`"),
        ("http://127.0.0.1/?token=secret", "without ? and #"),
    ],
)
def test_a_url_that_cannot_be_right_is_refused_in_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(AddressError) as caught:
        AsyncClient(url)

    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["", "/", "/graphql", "/graphql/"])
async def test_a_url_may_end_with_the_endpoint_or_not(service: Client, path: str) -> None:
    async with AsyncClient(service.url + path) as client:
        assert len(await client.latest()) == 1


async def test_what_is_no_quotes_service_is_told_at_once(service: Client) -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="<h1>Hello</h1>")

    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPPermanentRedirect("https://elsewhere.example/graphql")

    async with answering(hello) as url:
        for error in await both_ways(url):
            assert isinstance(error, AddressError)
            assert "answered with status 200, and not as a quotes service does" in str(error)
    async with answering(moved) as url:
        for error in await both_ways(url):
            assert isinstance(error, AddressError)
            assert "https://elsewhere.example/graphql" in str(error)
    for error in await both_ways(f"{service.url}/elsewhere"):
        assert "answered with status 404" in str(error)
    for error in await both_ways(service.url.replace("http:", "https:")):
        assert "does not speak TLS" in str(error)


async def test_what_does_not_answer_is_told_after_some_attempts() -> None:
    requests: list[str] = []

    async def silent(request: web.Request) -> web.StreamResponse:
        requests.append(request.path)
        await asyncio.sleep(60)
        raise AssertionError

    async with answering(silent) as url:
        for error in await both_ways(url, timeout=0.1, attempts=3):
            assert isinstance(error, UnreachableError)
            assert str(error) == f"{url}/graphql did not answer within 0.1 s."
    assert len(requests) == 6
    for error in await both_ways(f"http://127.0.0.1:{free_port()}", attempts=2):
        assert isinstance(error, UnreachableError)
        assert "cannot be reached" in str(error)


async def test_what_a_proxy_answers_in_the_service_s_place_is_tried_again(
    service: Client,
) -> None:
    requests: list[str] = []

    async def proxy(request: web.Request) -> web.Response:
        requests.append(request.path)
        if len(requests) % 3:
            return web.Response(status=502 + len(requests) % 3, headers={"Retry-After": "0"})
        async with service.http.post(
            f"{service.url}/graphql",
            data=await request.read(),
            headers={"Content-Type": "application/json"},
        ) as answer:
            return web.Response(body=await answer.read(), content_type="application/json")

    async with answering(proxy) as url, AsyncClient(url, attempts=3) as client:
        assert len(await client.latest()) == 1
        assert len(requests) == 3
    requests.clear()
    async with answering(proxy) as url, AsyncClient(url, attempts=2) as client:
        with pytest.raises(UnreachableError, match="answered with status 50"):
            await client.latest()


async def test_what_asks_to_wait_for_long_is_not_waited_for() -> None:
    requests: list[str] = []

    async def busy(request: web.Request) -> web.Response:
        requests.append(request.path)
        return web.Response(status=503, headers={"Retry-After": "3600"})

    async with answering(busy) as url, AsyncClient(url) as client:
        with pytest.raises(UnreachableError) as caught:
            await client.latest()

    assert (caught.value.retry_after, len(requests)) == (3600.0, 1)


async def test_a_throttled_query_is_answered_when_the_budget_allows_it(
    settings: Settings, sessions: Sessions
) -> None:
    await insert(sessions, quote())
    async with (
        serving(settings.model_copy(update={"points_per_minute": 1_200})) as service,
        AsyncClient(service.url) as patient,
        AsyncClient(service.url, attempts=1) as impatient,
    ):
        with pytest.raises(ThrottledError, match="points a minute") as caught:
            await spend(impatient)

        assert 0 < (caught.value.retry_after or 0) < 10  # for some 180 points
        assert (await patient.gaps("BTC", until=minute(2_000))).expected == 2_000


async def spend(client: AsyncClient) -> None:
    """More than a minute's points, on answers that are in no cache."""
    for at in range(1, 1_000):
        await client.gaps("BTC", until=minute(at))


async def test_a_query_is_answered_once_the_database_is_back(
    settings: Settings, folder: Path
) -> None:
    postgres = Postgres(folder / "postgres", options={"fsync": "off"})
    await postgres.start()
    await asyncio.to_thread(migrations.migrate, postgres.url)
    own = Settings(database_url=postgres.url, redis_url=settings.redis_url)
    async with (
        open_engine(postgres.url, name="test") as engine,
        serving(own) as service,
        AsyncClient(service.url, attempts=1) as impatient,
        AsyncClient(service.url, attempts=10) as patient,
    ):
        await insert(Sessions(engine), quote())
        postgres.kill()
        await postgres.wait()
        with pytest.raises(UnavailableError, match="cannot be reached just now"):
            await impatient.prices("BTC", "2026-01-31")

        answer = asyncio.create_task(patient.prices("BTC", "2026-01-31"))
        await postgres.start()

        assert [each.at for each in await answer] == [minute(0)]
    await postgres.stop()


async def test_a_token_opens_what_it_is_required_for_and_is_shown_nowhere(
    settings: Settings, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await insert(sessions, quote())
    await sessions.transact(partial(tokens.add, name="own", token=TOKEN))
    async with serving(settings.model_copy(update={"access": "token"})) as service:
        wrong = await both_ways(service.url) + await both_ways(service.url, token="qt_other")  # noqa: S106
        async with AsyncClient(service.url, token=TOKEN) as client:
            assert len(await client.latest()) == 1
            async with aclosing(client.follow()) as stream:
                assert (await anext(stream)).at == minute(0)
                await sessions.transact(partial(tokens.remove, name="own"))
                with pytest.raises(UnauthenticatedError) as removed:
                    await anext(stream)
            with pytest.raises(UnauthenticatedError):
                await client.latest()
            shown = repr(client) + repr(vars(client))

    assert [type(error) for error in wrong] == [UnauthenticatedError] * 4
    logged = [each.getMessage() for each in caplog.records if each.name == "quotes.client"]
    for text in (shown, *logged, *(repr(each) for each in (*wrong, removed.value))):
        assert TOKEN not in text


@pytest.mark.parametrize("token", ["", " ", "a\nb", "é", "a\x00"])
def test_a_token_that_no_header_can_carry_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ValueError, match="`token` is empty, or holds a character"):
        AsyncClient("http://127.0.0.1", token=token)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """The certificate of 127.0.0.1, and its key, in one file."""
    file = tmp_path / "certificate.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test"
    name = ("-addext", "subjectAltName=IP:127.0.0.1")
    openssl = shutil.which("openssl")
    assert openssl is not None
    public = tmp_path / "public.pem"
    command = [openssl, *words.split(), *name, "-keyout", str(file), "-out", str(public)]
    subprocess.run(command, check=True, capture_output=True)
    file.write_text(file.read_text() + public.read_text())
    return file


async def test_a_certificate_is_trusted_where_the_client_is_told_to(
    service: Client, certificate: Path
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=certificate)

    async with relayed(service.url, tls) as relay:
        for error in await both_ways(relay.url):
            assert isinstance(error, AddressError)
            assert "The TLS certificate of https://127.0.0.1" in str(error)
        async with AsyncClient(relay.url, ssl=trusting) as client:
            assert len(await client.latest()) == 1
            async with aclosing(client.follow()) as stream:
                assert (await anext(stream)).at == minute(0)


@needs_nginx
async def test_a_service_under_a_path_is_read_and_followed(
    settings: Settings, sessions: Sessions, folder: Path
) -> None:
    await insert(sessions, quote())
    own = {"root_path": "/prices", "trusted_proxies": ("127.0.0.1",)}
    async with (
        serving(settings.model_copy(update=own)) as api,
        nginx(folder, free_port(), int(api.url.rpartition(":")[2])) as url,
        AsyncClient(url) as client,
        aclosing(client.follow()) as stream,
    ):
        assert len(await client.latest()) == 1
        assert (await anext(stream)).at == minute(0)
