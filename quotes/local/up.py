"""Everything on this machine: `quotes up`. Servers where none is named, then our own processes."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress

from quotes.local import external, preflight, probe, processes, running
from quotes.local.embedded import EmbeddedError, Postgres, Valkey
from quotes.local.server import Server
from quotes.local.supervisor import BrokenError, Stage, Supervisor
from quotes.market.sources import DEMO, name_of
from quotes.settings import FAILED, PREFIX, REFUSED, Settings, unknown_names

_READY_SECONDS = 60.0  # on a slow machine a first start also compiles every library
_FIRST_QUOTE_SECONDS = 15.0  # then "ready" is printed anyway
_PAUSE_SECONDS = 0.05
_SAME_SIGNAL_SECONDS = 1.0  # a signal to the process group arrives twice, as uv forwards it, too
_API_PATH = "/api/v2"  # where the exchange, and so its stand-in, answers


def run(settings: Settings, *, demo: bool) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP: 0. On failure, a sentence on stderr and its status."""
    try:
        preflight.check_port(settings.host, settings.port)
        if settings.database_url is None:
            processes.clear_libpq(os.environ)
        up = Up(settings, demo=demo)
        with ExitStack() as stack:
            if settings.database_url is None or settings.redis_url is None:
                stack.enter_context(running.hold(up.folder, up.joining()))
            asyncio.run(up.run())
    except (preflight.PreflightError, EmbeddedError) as error:
        return _fail(error, REFUSED)
    except BrokenError as error:
        return _fail(error, FAILED)
    return 0


def _fail(error: Exception, status: int) -> int:
    print(error, file=sys.stderr)
    return status


class Up:
    """One run of everything."""

    def __init__(self, settings: Settings, *, demo: bool) -> None:
        self.settings = settings
        self.demo_port = _free_port() if demo else None
        self.made_up = demo or name_of(settings.deribit_url) == DEMO
        self.folder = running.folder(settings, made_up=self.made_up)
        self.exchange = settings.deribit_url
        if demo:
            self.exchange = f"http://127.0.0.1:{self.demo_port}{_API_PATH}"
        # The children's; the servers' URLs are added to it.
        self.env = {
            **os.environ,
            f"{PREFIX}DERIBIT_URL": self.exchange,
            f"{PREFIX}DRAIN": "0",  # there is no other API process to turn to
        }
        for unknown in unknown_names():  # this process has logged a warning about it
            self.env.pop(unknown.name, None)
        self.supervisor = Supervisor()
        self._stop_requested_at = 0.0

    def joining(self) -> dict[str, str]:
        """The environment for commands that join; the embedded servers' URLs are no secrets."""
        joining = {f"{PREFIX}DERIBIT_URL": self.exchange}
        if self.settings.database_url is None:
            joining[f"{PREFIX}DATABASE_URL"] = self._postgres().url
        if self.settings.redis_url is None:
            joining[f"{PREFIX}REDIS_URL"] = self._valkey().url
        return joining

    async def run(self) -> None:
        """Run until a stop signal; in every case all processes are stopped."""
        work = asyncio.create_task(self._work())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._stop_or_kill, work)
        try:
            await asyncio.wait({work})
        finally:
            await self.supervisor.stop()
        if not work.cancelled():
            work.result()

    def _stop_or_kill(self, work: asyncio.Task[None]) -> None:
        now = asyncio.get_running_loop().time()
        if not work.done() and not work.cancelling():
            print("Stopping; press Ctrl-C again to stop at once.", file=sys.stderr)
            self._stop_requested_at = now
            work.cancel()
        elif now - self._stop_requested_at > _SAME_SIGNAL_SECONDS:
            self.supervisor.kill()

    async def _work(self) -> None:
        start = asyncio.create_task(self._start())
        broken = asyncio.create_task(self.supervisor.broken())
        try:
            await asyncio.wait({start, broken}, return_when=asyncio.FIRST_COMPLETED)
            if not broken.done():
                await start
            raise await broken
        finally:
            start.cancel()
            broken.cancel()
            await asyncio.gather(start, broken, return_exceptions=True)

    async def _start(self) -> None:
        if self.demo_port:
            arguments = ("workers.demo", "--port", str(self.demo_port))
            await self._spawn(Stage.EXCHANGE, "The demo exchange", *arguments)
        await self._database()
        await self._queue()
        await self._migrate()
        await self._spawn(Stage.WORK, "The API", "quotes", "api")
        if self.demo_port:
            test = f"{_API_PATH}/public/test"
            await self._until("The demo exchange", "127.0.0.1", self.demo_port, test)
        await self._spawn(Stage.WORK, "The worker", "quotes", "worker")
        await self._spawn(Stage.SCHEDULER, "The scheduler", "quotes", "scheduler")
        await self._until("The API", self._reached(), self.settings.port, "/healthz")
        fault = None if self.made_up else await self._exchange_fault()
        if not fault:
            await self._first_quotes()
            fault = await self._pattern_fault()
        print(self._ready_line(), flush=True)
        if fault:
            print(fault, file=sys.stderr)

    async def _database(self) -> None:
        if self.settings.database_url:
            url = self.env[f"{PREFIX}DATABASE_URL"] = self.settings.database_url.get_secret_value()
            await external.check_database(url, made_up=self.made_up)
        else:
            await self._serve("DATABASE_URL", self._postgres())

    def _postgres(self) -> Postgres:
        return Postgres(self.folder / "postgres")

    def _valkey(self) -> Valkey:
        return Valkey(self.folder / "valkey")

    async def _queue(self) -> None:
        if self.settings.redis_url:
            await external.check_redis(self.settings.redis_url.get_secret_value())
        else:
            await self._serve("REDIS_URL", self._valkey())

    async def _serve(self, variable: str, server: Server) -> None:
        await self.supervisor.run(Stage.SERVERS, server.start)
        self.env[PREFIX + variable] = server.url

    async def _migrate(self) -> None:
        if await external.is_current(self.env[f"{PREFIX}DATABASE_URL"]):
            return  # the command takes seconds of imports to find the same
        migrate = await processes.start("The migration", _python("quotes", "migrate"), env=self.env)
        try:
            if await migrate.wait() != 0:
                raise BrokenError(f"{migrate.name} {migrate.exit_reason()}.")
        finally:
            await migrate.stop()

    async def _spawn(self, stage: Stage, name: str, *arguments: str) -> None:
        async def start() -> processes.Process:
            return await processes.start(name, _python(*arguments), env=self.env)

        await self.supervisor.run(stage, start)

    async def _until(self, name: str, host: str, port: int, path: str) -> None:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while not await probe.answers(host, port, path):  # noqa: ASYNC110
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            raise BrokenError(
                f"{name} did not answer within {_READY_SECONDS:.0f} seconds."
            ) from None

    def _reached(self) -> str:
        """The address for clients on this machine, also if it listens on all addresses."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.host, self.settings.host)  # noqa: S104

    def _ready_line(self) -> str:
        host = f"[{self._reached()}]" if ":" in self._reached() else self._reached()
        url = f"http://{host}:{self.settings.port}"
        line = f"Ready: page {url}/  GraphQL {url}/graphql  health {url}/readyz"
        return f"{line}  (demo: these prices are made up)" if self.made_up else line

    async def _exchange_fault(self) -> str | None:
        url = self.exchange
        if reason := await probe.unreachable(f"{url}/public/test"):
            return (
                f"The exchange at {url} cannot be reached ({reason}). Stored prices are served, "
                "and it is requested again every minute. For made-up prices: ./dev up --demo"
            )
        return None

    async def _pattern_fault(self) -> str | None:
        listed = await external.listed(self.env[f"{PREFIX}DATABASE_URL"])
        if listed and (unmatched := self.settings.selection.unmatched(listed)):
            return (
                f"None of the exchange's {len(listed)} indexes matches {', '.join(unmatched)}: "
                f"correct {PREFIX}TICKERS, or set it to all."
            )
        return None

    async def _first_quotes(self) -> None:
        """Wait a little for the first ones, so that there is a price once "ready" is printed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_QUOTE_SECONDS):
                while not await external.has_quotes(self.env[f"{PREFIX}DATABASE_URL"]):  # noqa: ASYNC110
                    await asyncio.sleep(_PAUSE_SECONDS)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _python(*arguments: str) -> list[str]:
    # -P: the current folder may contain another `quotes`.
    return [sys.executable, "-P", "-m", *arguments]
