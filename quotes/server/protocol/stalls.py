"""Cutting off readers that have stalled.

A transport reports when its buffer is full and when it has drained. A reader that takes nothing
from a full one for STALL_TIMEOUT is cut off, so that it holds neither memory nor a task for ever; a
slow one that takes some has until ROOM_TIMEOUT.
"""

import asyncio
from typing import Any

STALL_TIMEOUT = 10.0  # seconds that a full buffer may stay as full
ROOM_TIMEOUT = 60.0  # seconds that a full buffer may take to drain, however much the reader takes
BUFFER = 64 * 1024  # bytes that wait for a slow reader in this process before it counts as full


class StallTimeout(asyncio.Protocol):
    """Cuts off a client that does not read. A mix-in for uvicorn's protocols."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _stall: asyncio.TimerHandle | None = None  # runs while the buffer is full

    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(high=BUFFER)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_timer(self.loop.time() + ROOM_TIMEOUT)

    def resume_writing(self) -> None:
        self._stop_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def cut_off(self) -> None:
        self.transport.abort()

    def _start_timer(self, deadline: float) -> None:
        left = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(STALL_TIMEOUT, self._check, left, deadline)

    def _check(self, before: int, deadline: float) -> None:
        drains = self.transport.get_write_buffer_size() < before
        if drains and self.loop.time() < deadline:
            self._start_timer(deadline)
        else:
            self.cut_off()

    def _stop_timer(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
