"""A child process, which ends at the latest when its parent does."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
_LIBPQ = re.compile(r"PG[A-Z]+")
_STOP_SECONDS = 10.0  # an API has 5 for its open requests, a worker 10 for a running message


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Process:
    """A child in a session of its own, so that a terminal's Ctrl-C does not reach it first."""

    name: str
    child: asyncio.subprocess.Process
    log: Path | None = None  # None: it inherits our output
    stop_signal: signal.Signals = signal.SIGTERM  # its request for a clean shutdown

    @property
    def running(self) -> bool:
        return self.child.returncode is None

    async def wait(self) -> int:
        return await self.child.wait()

    def kill(self) -> None:
        """Kill it and everything left in its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or a Mac's zombie
            os.killpg(self.child.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Send its stop signal; kill it if it has not ended after _STOP_SECONDS."""
        if self.running:
            # Not by `send_signal`, which may take the exit status from under asyncio's own wait.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child.pid, self.stop_signal)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self.child.wait()
        self.kill()
        await self.child.wait()

    def exit_reason(self) -> str:
        """How it ended and where to read the reason, as a predicate of its name."""
        status = self.child.returncode
        if status is None:
            return "is running"
        if status < 0:  # the process had no time to log a reason
            reason, lines = f"was ended by {signal.Signals(-status).name}", ""
        else:
            reason, lines = (
                f"ended with status {status}",
                " (see its lines above)" if status else "",
            )
        return f"{reason} (see {self.log})" if self.log else reason + lines


async def start(  # noqa: PLR0913  # keywords, each with a default
    name: str,
    command: Sequence[str | Path],
    *,
    user: User | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: IO[bytes] | None = None,
    log: Path | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    keep_open: Sequence[int] = (),
) -> Process:
    """Start `command`, whose first word is an absolute path, as `user` where we are root."""
    who = user or User(os.getuid(), os.getgid())
    script = [sys.executable, "-I", "-S", _DIE_WITH_PARENT]
    guarded = [*script, stop_signal, os.getpid(), who.uid, who.gid]
    with contextlib.ExitStack() as stack:
        output = None if log is None else stack.enter_context(log.open("ab"))
        child = await asyncio.create_subprocess_exec(
            *(str(int(word) if isinstance(word, int) else word) for word in [*guarded, *command]),
            stdin=stdin or asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd=cwd,
            pass_fds=keep_open,
            start_new_session=True,
        )
    return Process(name, child, log, stop_signal)


def clear_libpq(environment: MutableMapping[str, str]) -> None:
    """Remove what libpq, asyncpg and PostgreSQL's own programs read.

    It describes a server of the user's; the URL of one of ours holds all that is needed.
    """
    for name in [name for name in environment if _LIBPQ.fullmatch(name)]:
        del environment[name]
