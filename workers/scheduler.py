"""The scheduler process: `quotes scheduler`. periodiq's clock, for whoever leads.

Any number may run: one holds an advisory lock of the database and runs the clock, the others
wait for it. The clock is a child process, because it lives by SIGALRM and ends at the first
message that it cannot send; here it is started again.
"""

import asyncio
import signal
import sys
from contextlib import suppress
from typing import Any

import structlog

from quotes import logs
from quotes.database import connections
from quotes.database.errors import DatabaseError, translated
from quotes.database.outages import Outage
from quotes.settings import Settings

log = structlog.get_logger()

LEADER_LOCK = 7_306_002  # any number that nothing else in this database locks
ASK = 1.0  # seconds between two looks at the lock, the leader's and the waiting one's
ASK_TIMEOUT = 5.0  # seconds for one look
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0  # seconds before an ended clock is started again, doubling
STOP_TIMEOUT = 5.0  # seconds that the clock has to end


async def lead(settings: Settings) -> None:
    """Wait for the lock, then run the clock while it is held; again whenever it is lost."""
    connect = connections.connector(settings.require_database_url(), name="scheduler")
    outage = Outage("scheduler")
    while True:
        try:
            with translated():
                await _lead_on(await connect(), outage)
        except DatabaseError as error:
            outage.met(error)
        await asyncio.sleep(ASK)


async def _lead_on(connection: Any, outage: Outage) -> None:
    outage.over()
    try:
        await _while_leading(connection)
    finally:
        connection.terminate()


async def _while_leading(connection: Any) -> None:
    """Returns never; raises a driver's exception when the lock may be lost."""
    waiting = False
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LEADER_LOCK):
        if not waiting:
            log.info("scheduler_waits", reason="another scheduler leads")
        waiting = True
        await asyncio.sleep(ASK)
    log.info("scheduler_leads")
    clock = asyncio.create_task(_keep_clock(), name="clock")
    try:
        while not clock.done():
            await asyncio.sleep(ASK)
            await connection.execute("SELECT 1", timeout=ASK_TIMEOUT)
        clock.result()
    finally:
        clock.cancel()
        with suppress(asyncio.CancelledError):
            await clock


async def _keep_clock() -> None:
    delay = FIRST_DELAY
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        status = await _run_clock()
        if loop.time() - began > LONGEST_DELAY:
            delay = FIRST_DELAY
        log.warning("clock_ended", status=status, again_in=delay)
        await asyncio.sleep(delay)
        delay = min(LONGEST_DELAY, delay * 2)


async def _run_clock() -> int:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "workers.clock")
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


async def main() -> None:
    """Run until SIGINT or SIGTERM."""
    settings = Settings.load()
    logs.configure(settings.log_format, process="scheduler")
    leading = asyncio.create_task(lead(settings), name="lead")
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leading.cancel)
    with suppress(asyncio.CancelledError):
        await leading


if __name__ == "__main__":
    asyncio.run(main())
