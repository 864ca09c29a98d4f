"""Requests that are answered from memory, in the round of the event loop in which they arrive.

A task for each request, and the messages between uvicorn and the application, take longer than
finding a cached answer. A request that has not arrived as a whole has no task either: whoever sends
its body slowly takes no turn from others, and little memory.
"""

from collections.abc import Sequence
from typing import Any, Protocol, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)


class Application(Protocol):
    """What may answer at once."""

    def immediate(self, scope: Scope, body: bytes) -> Sequence[bytes] | None:
        """The headers, with the empty line after them, and the body of a 200.

        None for a request that is to be answered in its own task.
        """
        ...


class ImmediateAnswers(HttpToolsProtocol):
    """A connection that offers each request to an `Application` before a task is started for it."""

    _receiving = False
    _pending: tuple[RequestResponseCycle, Any] | None = None  # what no task was started for yet

    def data_received(self, data: bytes) -> None:
        self._receiving = True
        super().data_received(data)
        self._receiving = False
        if self._pending is None:
            return
        if _body_follows(self._pending[0]):
            self.flow.resume_reading()  # which uvicorn pauses until a task has read what is there
            return
        (cycle, app), self._pending = self._pending, None
        if not self._answered(cycle):
            self._start_asgi_task(cycle, app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._receiving:
            self._pending = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def _answered(self, cycle: RequestResponseCycle) -> bool:
        if cycle.more_body or cycle.disconnected or not cycle.keep_alive or self.flow.write_paused:
            return False
        application: Application = self.config.app  # type: ignore[assignment]
        answer = application.immediate(cast("Scope", cycle.scope), bytes(cycle.body))
        if answer is None:
            return False
        lines = [b"%b: %b\r\n" % header for header in cycle.default_headers]
        cycle.response_started = cycle.response_complete = True
        self.transport.writelines([STATUS_LINE[200], *lines, *answer])
        self.on_response_complete()
        return True


def _body_follows(cycle: RequestResponseCycle) -> bool:
    return cycle.more_body and not cycle.waiting_for_100_continue
