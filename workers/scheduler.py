"""The scheduler process: `quotes scheduler`. The leader runs periodiq.

Any number may run: the one that holds an advisory lock of the database is the leader, the others
wait. periodiq is a child process, because it relies on SIGALRM and exits at the first message that
it cannot send; it is restarted once the queue answers.
"""

import asyncio
import itertools
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from quotes import logs, metrics, queue
from quotes.database import connections, heartbeats, indexes
from quotes.database.errors import DatabaseError, UnavailableError, translated
from quotes.database.maintenance import totals
from quotes.database.models import Part
from quotes.database.outages import Outage
from quotes.market.selection import Selection
from quotes.settings import REFUSED, Settings, SettingsError
from workers import installation
from workers.conditions import Condition

log = structlog.get_logger(__name__)

QUEUE_UNAVAILABLE = os.EX_TEMPFAIL  # periodiq's exit status if a message could not be sent
POLL = 1.0  # seconds between two checks of the lock, by the leader and by those that wait
POLL_TIMEOUT = 5.0  # seconds for one check
POLLS_PER_HEARTBEAT = int(heartbeats.EVERY / POLL)
NO_QUEUE = "The scheduler cannot reach the queue."
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0  # seconds before periodiq is restarted, doubling
STOP_TIMEOUT = 5.0  # seconds for it to exit


async def lead(settings: Settings) -> None:
    """Wait for the lock and run periodiq while holding it; start over when it is lost."""
    connect = connections.connector(settings.require_database_url(), name="scheduler")
    outage = Outage("scheduler")
    while True:
        try:
            with translated():
                await _lead_on(await connect(), settings, outage)
        except DatabaseError as error:
            outage.failed(error)
        await asyncio.sleep(POLL)


async def _lead_on(connection: Any, settings: Settings, outage: Outage) -> None:
    outage.recovered()
    try:
        await _while_leading(connection, settings)
    finally:
        connection.terminate()
        installation.forget()


async def _while_leading(connection: Any, settings: Settings) -> None:
    """Never returns; raises a driver's exception when the lock may be lost."""
    waiting = False
    attempt = ("SELECT pg_try_advisory_lock($1)", connections.LEADER_LOCK)
    while not await connection.fetchval(*attempt):
        if not waiting:
            log.info("scheduler_waits", reason="another scheduler leads")
        waiting = True
        await asyncio.sleep(POLL)
    log.info("scheduler_leads")
    unavailable = Condition(log, "queue_unavailable")
    periodiq = asyncio.create_task(
        _supervise_periodiq(settings.require_redis_url(), unavailable), name="periodiq"
    )
    outage, reported = Outage("heartbeat"), None
    try:
        for poll in itertools.count():
            if periodiq.done():
                break
            problem = NO_QUEUE if unavailable.holds else None
            if poll % POLLS_PER_HEARTBEAT == 0 or problem != reported:
                await _beat(connection, problem, settings.selection, outage)
                reported = problem
            await asyncio.sleep(POLL)
            await connection.execute("SELECT 1", timeout=POLL_TIMEOUT)
        periodiq.result()
    finally:
        periodiq.cancel()
        with suppress(asyncio.CancelledError):
            await periodiq


async def _beat(connection: Any, problem: str | None, selection: Selection, outage: Outage) -> None:
    """Send a heartbeat. What keeps it from being stored, other than the connection, is logged."""
    try:
        with translated():
            await connection.execute(
                heartbeats.BEAT, Part.SCHEDULER.value, problem, timeout=POLL_TIMEOUT
            )
            tickers = await _collected(connection, selection)
            installation.show(await totals.read(connection, tickers, within=POLL_TIMEOUT))
    except UnavailableError:
        raise
    except DatabaseError as error:
        outage.failed(error)
    else:
        outage.recovered()


async def _collected(connection: Any, selection: Selection) -> tuple[str, ...]:
    """As `database.collected`, by a connection of the driver's."""
    if not selection.patterns:
        return selection.names
    rows = await connection.fetch(indexes.LISTED, timeout=POLL_TIMEOUT)
    return selection.tickers([row["ticker"] for row in rows])


async def _supervise_periodiq(redis_url: str, unavailable: Condition) -> None:
    """Restart periodiq: at once when the queue answers again, else after a growing delay."""
    delay = FIRST_DELAY
    loop = asyncio.get_running_loop()
    async with Redis.from_url(
        redis_url, client_name="quotes-scheduler", socket_connect_timeout=5, socket_timeout=5
    ) as queue:
        while True:
            await _wait_for_queue(queue, unavailable)
            began = loop.time()
            status = await _run_periodiq()
            if status == QUEUE_UNAVAILABLE:
                await asyncio.sleep(POLL)
                continue
            if loop.time() - began > LONGEST_DELAY:
                delay = FIRST_DELAY
            log.warning("periodiq_ended", status=status, again_in=delay)
            await asyncio.sleep(delay)
            delay = min(LONGEST_DELAY, delay * 2)


async def _wait_for_queue(queue: Redis, unavailable: Condition) -> None:
    while True:
        try:
            await queue.ping()
        except (RedisError, OSError) as error:
            unavailable.persists(reason=str(error))
            await asyncio.sleep(POLL)
        else:
            unavailable.ended()
            return


async def _run_periodiq() -> int:
    # -P: the current folder may contain another `workers`.
    arguments = ("-P", "-m", "workers.periodiq_process")
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
            except TimeoutError:
                process.kill()
                await process.wait()


def main() -> int:
    """Run until SIGINT or SIGTERM: 0. Where a setting is wrong, a sentence on stderr: 2."""
    try:
        settings = Settings.load()
        logs.configure(settings.log_format, process="scheduler", level=settings.log_level)
        collector = installation.QueueCollector(queue.connect(settings))
        with metrics.exposed(settings, metrics.Process.SCHEDULER, collector):
            asyncio.run(_run(settings))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    return 0


async def _run(settings: Settings) -> None:
    installation.forget()
    leading = asyncio.create_task(lead(settings), name="lead")
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leading.cancel)
    async with metrics.measured_loop():
        with suppress(asyncio.CancelledError):
            await leading


if __name__ == "__main__":
    sys.exit(main())
