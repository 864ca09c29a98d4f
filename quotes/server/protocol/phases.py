"""What an HTTP connection waits for from its client, and how long, by one timer."""

from abc import ABC, abstractmethod
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from asyncio import TimerHandle

PAUSED = 2.0  # seconds to the next look at a connection that we do not read from ourselves


class Phase(Enum):
    """What is expected of the client."""

    OPENED = auto()  # its first byte
    EXCESS = auto()  # the same, for a connection beyond a limit
    HEADERS = auto()
    BODY = auto()
    NOTHING = auto()  # its request is complete
    REFUSED = auto()  # that it reads why; whatever it sends is discarded
    GONE = auto()  # it was lost, or has become a WebSocket


NOTHING = Phase.NOTHING  # for where it counts: a member read from its Enum takes 0.4 us
ENDED = (Phase.REFUSED, Phase.GONE)


class Phases(HttpToolsProtocol, ABC):
    """A connection whose phases have deadlines. Setting a new one costs no new timer."""

    # A dict of more than 30 attributes, of which uvicorn's own are 28, would be a slow one.
    __slots__ = ("_due", "_phase", "_timed", "_timer")

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._phase = Phase.OPENED
        self._timed: Phase | None = None  # the phase that the deadline is for
        self._due = 0.0  # the deadline, by the loop's clock
        self._timer: TimerHandle | None = None

    def _expect(self, phase: Phase, seconds: float) -> None:
        self._phase = self._timed = phase
        self._due = self.loop.time() + seconds
        if self._timer is None:  # else it finds the new deadline when it goes off
            self._timer = self.loop.call_later(seconds, self._check_due)

    def _extension(self) -> float:
        """Seconds that the phase may last beyond its deadline."""
        return 0.0

    @abstractmethod
    def _overdue(self) -> None:
        """The phase has lasted too long."""

    def _check_due(self) -> None:
        self._timer = None
        if self._timed is None or self._phase is Phase.GONE:
            return
        left = self._due + self._extension() - self.loop.time()
        if self.flow.read_paused:  # until what has arrived has been read
            left = max(left, PAUSED)
        if left > 0:
            self._timer = self.loop.call_later(left, self._check_due)
        else:
            self._overdue()

    def _stop_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
