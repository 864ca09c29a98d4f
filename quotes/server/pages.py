"""The pages for people and what they load, as the build of `quotes/web` left it in `static/`."""

from collections.abc import Collection
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from quotes.market import tickers
from quotes.server.http import codings
from quotes.server.http.codings import Coding

STATIC = Path(__file__).parents[1] / "static"
NOT_BUILT = (
    "This page was not built when quotes was installed; the API at /graphql works without it. "
    "With Node 20 or newer and a package registry in reach, run "
    "`npm ci --ignore-scripts && npm run build` in quotes/web, then start again.\n"
)
NO_EXPLORER = (
    "The explorer is switched off here. The API answers at this address: send a POST with the "
    "query as JSON.\n"
)
FOR_EVER = "public, max-age=31536000, immutable"  # an asset's name changes with its content
PACKED = {Coding.BROTLI: ".br", Coding.GZIP: ".gz"}  # by the build; the smaller one first
SECURITY = {
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def _policy(**sources: str) -> str:
    """Everything from this origin and nothing from elsewhere; no inline script, no frame around."""
    allowed = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        **{name.replace("_", "-"): value for name, value in sources.items()},
    }
    return "; ".join(f"{name} {value}" for name, value in allowed.items())


LIVE_POLICY = _policy()
EXPLORER_POLICY = _policy(
    style_src="'self' 'unsafe-inline'",  # its editor makes style elements for themes and lines
    font_src="'self' data:",  # its style sheet holds its fonts
    worker_src="'self'",
)


@dataclass(frozen=True, slots=True)
class Site:
    """What was built. Without it each page is one sentence on how to build it."""

    folder: Path = STATIC
    explorable: bool = True

    @property
    def built(self) -> bool:
        return (self.folder / "page.html").exists()

    def routes(self) -> list[Route]:
        """For the end of the application's routes: the last one takes any word."""
        return [
            Route("/", self._live),
            Route("/assets/{name}", self._asset),
            Route("/{ticker}", self._ticker),
            Route("/{name}/", _without_slash),
        ]

    def explorer(self) -> Response:
        if not self.explorable:
            return PlainTextResponse(NO_EXPLORER, status_code=404, headers={"Vary": "Accept"})
        return self._page("explorer.html", EXPLORER_POLICY)

    async def _live(self, request: Request) -> Response:
        return self._page("page.html", LIVE_POLICY)

    async def _ticker(self, request: Request) -> Response:
        if not _is_ticker(request.path_params["ticker"], request.app.state.context.collected):
            return PlainTextResponse("Not Found", status_code=404)
        return self._page("page.html", LIVE_POLICY)

    def _page(self, name: str, policy: str) -> Response:
        headers = {
            **SECURITY,
            "Cache-Control": "no-cache",
            "Content-Security-Policy": policy,
            "Vary": "Accept",
        }
        if not self.built:
            return PlainTextResponse(NOT_BUILT, headers=headers)
        return FileResponse(self.folder / name, headers=headers)

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        path = self.folder / "assets" / name
        if path.suffix in PACKED.values() or not path.is_file():
            return PlainTextResponse("Not Found", status_code=404)
        headers = {**SECURITY, "Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
        kind = guess_type(name)[0] or "application/octet-stream"
        if coding := codings.best(request.headers.get("accept-encoding", ""), tuple(PACKED)):
            path = path.with_name(name + PACKED[coding])
            headers["Content-Encoding"] = coding
        return FileResponse(path, headers=headers, media_type=kind)


def _is_ticker(word: str, collected: Collection[str]) -> bool:
    """Any `base_quote`; of other words, which might be anything, the currencies collected here."""
    try:
        name = tickers.parse(word)
    except ValueError:
        return False
    return "_" in word or name in collected


class WithExplorer:
    """The API, but the explorer for a browser that opens its address."""

    def __init__(self, api: ASGIApp, site: Site) -> None:
        self._api = api
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _opens_a_page(request := Request(scope)):
            slash = scope["path"].endswith("/")
            page = await _without_slash(request) if slash else self._site.explorer()
            await page(scope, receive, send)
        else:
            await self._api(scope, receive, send)


async def _without_slash(request: Request) -> Response:
    """To the same page, whose links are relative, wherever a proxy publishes it."""
    name = request.url.path.rstrip("/").rpartition("/")[2]
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"../{name}{query}", status_code=308)


def _opens_a_page(request: Request) -> bool:
    return request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("accept", "")
