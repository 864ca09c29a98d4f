"""Exec a command that is killed when its parent process dies.

Run by its path, as `python die_with_parent.py SIGNAL PARENT USER GROUP COMMAND...`: the command
keeps the process id. A `preexec_fn` would do the same between fork and exec, where threads make it
unsafe.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def _become(user: int, group: int) -> None:
    if os.getuid() == 0 and user != 0:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)


def _die_with(parent: int, signal_number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:
            raise SystemExit("the process that started this one is gone")


def main(signal_number: str, parent: str, user: str, group: str, *command: str) -> None:
    _become(int(user), int(group))
    _die_with(int(parent), int(signal_number))  # after _become, which would clear it
    os.execv(command[0], command)  # noqa: S606 # the very purpose


if __name__ == "__main__":
    main(*sys.argv[1:])
