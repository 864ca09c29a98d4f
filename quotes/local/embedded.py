"""PostgreSQL and Valkey for one machine: children of ours, in a folder of their own.

They listen on Unix sockets that only this user can reach, so nothing clashes with other servers
and no password is needed. A TCP port, used by tests, is open to every user of the machine.
"""

import asyncio
import shutil
import signal
import tempfile
from pathlib import Path
from urllib.parse import quote, urlencode

from quotes.local import binaries
from quotes.local.server import EmbeddedError, Server

__all__ = ["EmbeddedError", "Postgres", "Valkey"]

_NAME = "quotes"  # of the database and of its owner
_PORT = 5432  # in a socket's name
_SHELL_READS = {'"', "$", "`"}  # inside of double quotes
# What asyncpg would otherwise read from libpq's environment, which describes another server.
_EXPLICIT = {
    "sslmode": "disable",
    "sslnegotiation": "postgres",
    "target_session_attrs": "any",
    "gsslib": "gssapi",
}


class Postgres(Server):
    name = "PostgreSQL"
    variable = "QUOTES_DATABASE_URL"
    socket_name = ".s.PGSQL.5432.lock"
    stop_signal = signal.SIGINT

    @property
    def url(self) -> str:
        # A socket's folder stands as the host: in `?host=` a comma would make it two.
        host = "127.0.0.1" if self.port else quote(str(self.sockets), safe="")
        arguments = urlencode(_EXPLICIT)
        return f"postgresql://{_NAME}@{host}:{self.port or _PORT}/{_NAME}?{arguments}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    async def _prepare(self) -> list[str | Path]:
        programs = self._programs()
        if not self._data.exists():
            await self._make_data(programs)
        # The lock is ours, so this is left from a server that was killed. Its process id may be
        # another process's by now, and PostgreSQL would refuse to start.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        settings = {
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self.port or _PORT),
            "unix_socket_directories": _listed(self.sockets),
            "log_checkpoints": "off",  # else a line every few minutes, for ever
            **self.options,
        }
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [programs.folder / "postgres", "-D", self._data, *arguments]

    async def _answers(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"  # noqa: PLR2004 # PM_STATUS's line

    def _programs(self) -> binaries.PostgresPrograms:
        found = binaries.postgres()
        if not found:
            raise self._missing()
        programs = self._fitting(found)
        if self.user and not binaries.reachable_by_others(programs.folder):
            return binaries.copy_postgres(programs, self.folder / "programs")
        return programs

    def _fitting(self, found: list[binaries.PostgresPrograms]) -> binaries.PostgresPrograms:
        written_by = self._data / "PG_VERSION"
        if not written_by.exists():
            return found[0]
        major = int(written_by.read_text())
        for programs in found:
            if programs.major == major:
                return programs
        here = ", ".join(str(programs.major) for programs in found)
        raise EmbeddedError(
            f"{self.folder} was written by PostgreSQL {major}, and this machine has {here}. "
            f"Install PostgreSQL {major}, or set QUOTES_DATA_DIR to another folder."
        )

    async def _make_data(self, programs: binaries.PostgresPrograms) -> None:
        """A data folder is there whole or not at all, even if this is interrupted."""
        if _SHELL_READS & set(str(programs.folder)):
            raise EmbeddedError(
                f"PostgreSQL cannot be set up by the programs in {programs.folder}: initdb passes "
                f"that path to a shell, which would read {' '.join(sorted(_SHELL_READS))} in it. "
                "Set QUOTES_DATA_DIR to a folder without them, or install this elsewhere."
            )
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        locale = ["--locale-provider=builtin", "--locale=C.UTF-8"]
        if programs.major < 17:  # noqa: PLR2004 # the first with a provider of its own
            locale = ["--locale=C"]
        arguments = ["-U", _NAME, "-A", "trust", "-E", "UTF8", "--no-instructions", *locale]
        await self._run_to_its_end([programs.folder / "initdb", "-D", unfinished, *arguments])
        with tempfile.TemporaryFile() as statement:
            statement.write(f"CREATE DATABASE {_NAME};\n".encode())
            statement.seek(0)
            single: list[str | Path] = ["--single", "-D", unfinished, "postgres"]
            await self._run_to_its_end([programs.folder / "postgres", *single], stdin=statement)
        unfinished.rename(self._data)


class Valkey(Server):
    name = "Valkey"
    variable = "QUOTES_REDIS_URL"
    socket_name = "valkey.sock"

    @property
    def url(self) -> str:
        if self.port:
            return f"redis://127.0.0.1:{self.port}/0"
        return f"unix://{quote(str(self._socket))}?db=0"

    @property
    def _socket(self) -> Path:
        return self.sockets / self.socket_name

    async def _prepare(self) -> list[str | Path]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port or 0),
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            **self.options,
        }
        arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return [self._program(), *arguments]

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        try:
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"  # -LOADING while it reads its log
        except ConnectionError:
            return False
        finally:
            writer.close()

    def _program(self) -> Path:
        program = binaries.valkey()
        if program is None:
            raise self._missing()
        if self.user and not binaries.reachable_by_others(program):
            return binaries.copy_valkey(program, self.folder / "programs")
        return program


def _listed(folder: Path) -> str:
    """The folder as the only item of a list in PostgreSQL's settings."""
    return '"' + str(folder).replace('"', '""') + '"'
