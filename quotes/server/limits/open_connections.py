"""The connections that HTTP requests come on: counted, and limited in all and for each address.

A WebSocket or an event stream is not among them: those last, and have limits of their own.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from quotes.server.limits.connection_limits import TooManyConnectionsError
from quotes.settings import Settings


@dataclass(slots=True, eq=False)
class Place:
    """One connection's. `close` gives it back, and ends the connection; for idle ones only."""

    address: str
    close: Callable[[], None]
    used: bool = False  # while it was idle, by requests that were answered at once


@dataclass(slots=True)
class _Address:
    places: int = 0
    idle: dict[Place, None] = field(default_factory=dict)  # the one that is idle longest first


class OpenConnections:
    """Those of one process. At a limit a new one takes the place of the one idle longest.

    So connections that are opened and left idle keep nobody out; only those on which a request is
    under way do. Trusted proxies have no limit of their own: they carry the requests of others.
    """

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_connections
        self._most_of_an_address = settings.max_connections_per_address
        self._proxies = [ipaddress.ip_network(each) for each in settings.trusted_proxies]
        self._addresses: dict[str, _Address] = {}
        self._idle: dict[Place, None] = {}
        self.open = 0
        self.excess = 0  # connections that are being refused
        self.refused: Counter[int] = Counter()  # requests and connections, by HTTP status

    def take(self, address: str, close: Callable[[], None]) -> Place:
        """A place for a new connection, which begins idle. Raises TooManyConnectionsError."""
        there = self._addresses.get(address, _Address())
        full = there.places >= self._most_of_an_address and not self._is_proxy(address)
        if full and not self._close_first(there.idle):
            raise TooManyConnectionsError("This address has too many requests under way.")
        if self.open >= self._most and not self._close_first(self._idle):
            raise TooManyConnectionsError("This server has too many requests under way.")
        place = Place(address, close)
        self.open += 1
        self._addresses.setdefault(address, _Address()).places += 1
        self.idle(place)
        return place

    def idle(self, place: Place) -> None:
        """From now on, however long it was before."""
        self.busy(place)
        self._idle[place] = self._addresses[place.address].idle[place] = None

    def busy(self, place: Place) -> None:
        self._idle.pop(place, None)
        self._addresses[place.address].idle.pop(place, None)

    def leave(self, place: Place) -> None:
        """Give the place back; once for each."""
        self.busy(place)
        self.open -= 1
        there = self._addresses[place.address]
        there.places -= 1
        if not there.places:
            del self._addresses[place.address]

    def _close_first(self, idle: dict[Place, None]) -> bool:
        """Close one that was not used since it was looked at last; whether there was any."""
        while idle:
            place = next(iter(idle))
            if not place.used:
                place.close()
                return True
            place.used = False
            self.idle(place)
        return False

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._proxies)
