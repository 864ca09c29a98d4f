"""The commands `quotes token add`, `list` and `remove`."""

import re
import secrets
import sys
from functools import partial

from quotes.database import tokens
from quotes.database.sessions import Sessions
from quotes.local.commands.maintenance import OK, REFUSED, STOPPED, run_on

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.IGNORECASE)
PREFIX = "qt_"  # so that a token is recognised where it does not belong, as in a commit


def add(url: str, name: str) -> int:
    """Print a new token, which is not stored; the exit status."""
    if not _NAME.fullmatch(name):
        return _stop(
            "A token's name is 1 to 64 letters, digits, dots, dashes and underscores.", REFUSED
        )
    token = PREFIX + secrets.token_urlsafe(32)

    async def run(sessions: Sessions) -> int:
        if not await sessions.transact(partial(tokens.add, name=name, token=token)):
            return _stop(
                f"There is a token {name} already. Remove it, or take a new name.", STOPPED
            )
        print(token)
        print(
            "This is shown once. It is sent as `Authorization: Bearer TOKEN`, and accepted while "
            "QUOTES_ACCESS is token.",
            file=sys.stderr,
        )
        return OK

    return run_on(url, "token", run)


def show(url: str) -> int:
    """Print the names and when each was added."""

    async def run(sessions: Sessions) -> int:
        async with sessions() as session:
            found = await tokens.every(session)
        for token in found:
            print(f"{token.name}\t{token.created_at:%Y-%m-%dT%H:%M:%SZ}")
        if not found:
            print("There are no tokens. Add one with `quotes token add NAME`.", file=sys.stderr)
        return OK

    return run_on(url, "token", run)


def remove(url: str, name: str) -> int:
    async def run(sessions: Sessions) -> int:
        if not await sessions.transact(partial(tokens.remove, name=name)):
            return _stop(f"There is no token {name}.", STOPPED)
        print(f"{name} was removed. What its holder has open is closed within seconds.")
        return OK

    return run_on(url, "token", run)


def _stop(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status
