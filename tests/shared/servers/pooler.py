"""PgBouncer in front of the tests' database: Debian's, where it is installed."""

import asyncio
import os
import pwd
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from processes import free_port
from rows import until

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

needs_pgbouncer = pytest.mark.skipif(
    PGBOUNCER is None, reason="there is no pgbouncer: apt-get install pgbouncer"
)


@asynccontextmanager
async def pooling(database_url: str, folder: Path, mode: str, ignored: str) -> AsyncIterator[str]:
    """The database's URL through a pooler in that mode, which ignores these start parameters."""
    parts, port = urlsplit(database_url), free_port()
    assert PGBOUNCER is not None
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"""[databases]
quotes = host={unquote(parts.hostname or "")} port={parts.port} user=quotes dbname=quotes
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
ignore_startup_parameters = {ignored}
"""
    )
    process = await asyncio.create_subprocess_exec(
        PGBOUNCER, "--quiet", str(config), user=_unprivileged(), extra_groups=[]
    )
    try:
        await until(lambda: process.returncode is not None or _answers(port))
        assert process.returncode is None
        yield f"postgresql://quotes@127.0.0.1:{port}/quotes?sslmode=disable"
    finally:
        process.kill()
        await process.wait()


def _unprivileged() -> int | None:
    """PgBouncer, like PostgreSQL, refuses to run as root."""
    if os.getuid() != 0:
        return None
    return pwd.getpwnam("postgres").pw_uid


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
