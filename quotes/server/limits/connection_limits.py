"""How many connections are open: counted, and limited in total and for each address."""

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from starlette.types import Scope

MAX_ADDRESS = 64  # characters; a proxy may forward what is no address


class TooManyConnectionsError(Exception):
    """No more connections are accepted, from this address or at all; the message names which."""


class ConnectionLimits:
    """The open WebSockets and event streams of this process, and the subscriptions on them."""

    def __init__(self, *, most: int, most_of_an_address: int) -> None:
        self._most = most
        self._most_of_an_address = most_of_an_address
        self._of_address: Counter[str] = Counter()
        self.connections = 0
        self.subscriptions = 0

    @contextmanager
    def connected(self, address: str) -> Iterator[None]:
        """One connection of that address. Raises TooManyConnectionsError beyond a limit."""
        if self.connections >= self._most:
            raise TooManyConnectionsError("This server holds as many connections as it may.")
        if self._of_address[address] >= self._most_of_an_address:
            raise TooManyConnectionsError("This address holds as many connections as it may.")
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
    return network_of(scope["client"][0]) if scope.get("client") else ""


@lru_cache(4_096)
def network_of(address: str) -> str:
    """The address that limits count by: of IPv6 its network, whose 2^64 addresses have one user."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:MAX_ADDRESS]
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(found) >> 64 << 64))
