"""The stand-in as a process: `python -m workers.demo --port 8081`."""

import argparse
import asyncio
import signal

import structlog

from quotes import logs
from quotes.settings import Settings, SettingsError
from workers.demo.exchange import LOOPBACK, ROOT, Exchange, serve

log = structlog.get_logger()


async def _run(exchange: Exchange, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(exchange, port, host=host) as url:
        log.info("demo.listening", url=url, prices="made up")
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m workers.demo", description=ROOT)
    parser.add_argument("--host", default=LOOPBACK, help="in a container, 0.0.0.0")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--seed", type=int, default=1, help="another seed is another history")
    parser.add_argument("--latency", type=float, default=0, help="seconds, of each HTTP answer")
    parser.add_argument("--http-only", action="store_true", help="refuse every WebSocket")
    options = parser.parse_args()
    exchange = Exchange(seed=options.seed, latency=options.latency, sockets=not options.http_only)
    try:
        settings = Settings.load()
        logs.configure(settings.log_format, process="demo", level=settings.log_level)
        asyncio.run(_run(exchange, options.host, options.port))
    except (SettingsError, OSError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
