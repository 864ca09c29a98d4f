"""How many listen: counted, and bounded in all and for each address."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Scope


class CrowdedError(Exception):
    """No more connections are taken, from this address or at all; the message says which."""


class Crowd:
    """The open sockets and event streams of this process, and the subscriptions on them."""

    def __init__(self, *, most: int, most_of_an_address: int) -> None:
        self._most = most
        self._most_of_an_address = most_of_an_address
        self._of_address: Counter[str] = Counter()
        self.connections = 0
        self.subscriptions = 0

    @contextmanager
    def joined(self, address: str) -> Iterator[None]:
        """One connection of that address. Raises CrowdedError where it is one too many."""
        if self.connections >= self._most:
            raise CrowdedError("This server holds as many connections as it may.")
        if self._of_address[address] >= self._most_of_an_address:
            raise CrowdedError("This address holds as many connections as it may.")
        self.connections += 1
        self._of_address[address] += 1
        try:
            yield
        finally:
            self.connections -= 1
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    @contextmanager
    def subscribed(self) -> Iterator[None]:
        self.subscriptions += 1
        try:
            yield
        finally:
            self.subscriptions -= 1


def address_of(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""
