"""What is sent to a browser: pages that load nothing from elsewhere, packed and cached for ever."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from browser import needs_pages
from client import PROTOCOL, Client, serving
from paths import ROOT
from yarl import URL

from quotes.server.pages import NOT_BUILT, STATIC, Site
from quotes.settings import Settings

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
NODE = shutil.which("node")
LARGEST_SCRIPT = 200_000  # bytes of the live page's own script, gzipped


async def page(client: Client, path: str) -> tuple[dict[str, str], str]:
    async with client.http.get(f"{client.url}{path}", headers=BROWSER) as response:
        assert response.status == 200
        return dict(response.headers), await response.text()


@needs_pages
@pytest.mark.parametrize(
    "path", ["/", "/btc_usd", "/drbfix-btc_usdc", "/graphql", "/graphql?query={a}"]
)
async def test_a_page_allows_nothing_from_elsewhere_and_is_always_fresh(
    settings: Settings, path: str
) -> None:
    async with serving(settings) as client:
        headers, html = await page(client, path)

    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert not re.search(
        r"<script(?! type=\"module\" src=\"assets/)|<style|https?://(?!www\.trad)", html
    )


@needs_pages
async def test_the_live_page_is_small_and_knows_nothing_of_the_explorer(settings: Settings) -> None:
    async with serving(settings) as client:
        _, html = await page(client, "/")

    (script,) = re.findall(r'src="(assets/[^"]+)"', html)
    packed = (STATIC / f"{script}.gz").stat().st_size
    assert packed <= LARGEST_SCRIPT
    assert "explorer" not in html
    assert not re.search(r"\bimport\(", (STATIC / script).read_text())


@needs_pages
@pytest.mark.parametrize(
    ("offered", "coding"),
    [("gzip, deflate, br, zstd", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip"), ("", None)],
)
async def test_an_asset_is_cached_for_ever_and_packed_as_the_browser_can_take_it(
    settings: Settings, offered: str, coding: str | None
) -> None:
    async with serving(settings) as client:
        _, html = await page(client, "/")
        (script,) = re.findall(r'src="(assets/[^"]+)"', html)
        headers = {"Accept-Encoding": offered}
        async with client.http.get(
            f"{client.url}/{script}", headers=headers, auto_decompress=False
        ) as response:
            assert response.status == 200
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert response.headers["Vary"].startswith("Accept-Encoding")
            assert response.content_type == "text/javascript"
            assert response.headers.get("Content-Encoding") == coding


@pytest.mark.parametrize(
    "path", ["/favicon.ico", "/a/b", "/assets/none.js", "/assets/..%2fpage.html"]
)
async def test_what_is_no_ticker_and_no_asset_is_not_found(settings: Settings, path: str) -> None:
    async with serving(settings) as client, client.http.get(f"{client.url}{path}") as response:
        assert response.status == 404


async def test_programs_are_answered_by_the_api_as_before(settings: Settings) -> None:
    query = {"query": "{ latestPrices { price } }"}

    async with serving(settings) as client:
        url = f"{client.url}/graphql"
        async with client.http.get(url, params=query) as got:
            assert await got.json() == {"data": {"latestPrices": []}}
        async with client.http.post(url, json=query, headers=BROWSER) as posted:
            assert await posted.json() == {"data": {"latestPrices": []}}


def test_pages_that_were_not_built_show_how_to_build_them(tmp_path: Path) -> None:
    site = Site(tmp_path)

    assert not site.built
    assert site.explorer().body == NOT_BUILT.encode()


@needs_pages
@pytest.mark.skipif(NODE is None, reason="there is no node here")
@pytest.mark.skipif("UV" not in os.environ, reason="these tests were not started by ./dev test")
def test_a_build_of_the_pages_leaves_nothing_to_build() -> None:
    assert NODE is not None
    types = ROOT / "quotes" / "web" / "types.js"
    subprocess.run([NODE, types], check=True, timeout=60)  # as each build begins

    words = ["sync", "--check", "--offline", "--inexact", "--extra", "embedded"]
    process = subprocess.run(
        [os.environ["UV"], *words],
        cwd=ROOT,
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )

    assert process.returncode == 0, process.stderr


@needs_pages
@pytest.mark.parametrize("path", ["", "/our/prices"])
async def test_a_page_and_all_that_it_links_are_found_under_the_root_path(
    settings: Settings, path: str
) -> None:
    async with serving(settings.model_copy(update={"root_path": "/our/prices"})) as client:
        for name in ("", "btc_usd", "graphql"):
            url = URL(f"{client.url}{path}/{name}")
            async with client.http.get(url, headers=BROWSER) as response:
                html = await response.text()
            links = re.findall(r'(?:href|src)="(?!https:)([^"]*)"', html)
            assert len(links) >= 3
            for link in links:
                target = url.join(URL(link))
                async with client.http.get(target, headers=BROWSER) as response:
                    assert response.status == 200, target
        assert await client.data("{ __typename }") == "Query"
        async with client.http.ws_connect(f"{client.url}{path}/graphql", protocols=[PROTOCOL]):
            pass


@needs_pages
@pytest.mark.parametrize("name", ["btc_usd", "graphql"])
async def test_a_slash_too_many_leads_to_the_page_without_it(settings: Settings, name: str) -> None:
    async with serving(settings.model_copy(update={"root_path": "/prices"})) as client:
        for path, there in (
            (f"/prices/{name}/?a=b", f"/prices/{name}?a=b"),
            ("/prices", "/prices/"),
        ):
            async with client.http.get(f"{client.url}{path}", headers=BROWSER) as response:
                assert response.status == 200
                assert str(response.url) == f"{client.url}{there}"
