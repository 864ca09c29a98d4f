"""A standby of the database, which is read in place of the primary where it has all that is needed.

What is needed is all that the feed has read: more than that this process cannot have delivered.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import structlog

from quotes import metrics
from quotes.background import Ended, background
from quotes.database import replica
from quotes.database.errors import ConflictError, DatabaseError, UnavailableError, translated
from quotes.database.log.fingerprints import fingerprint
from quotes.database.outages import Outage
from quotes.database.replica import BehindError, NoReplicaError
from quotes.database.sessions import Sessions
from quotes.live.tail import Place, Tail

log = structlog.get_logger()

LOOK_EVERY = 1.0  # seconds between two looks at a standby that has everything
LOOK_TIMEOUT = 2.0  # seconds for one
RETRY = 0.5  # seconds before an unavailable one is tried again
SOON = 0.005  # seconds until the next look at one that has not; twice as many each time
PATIENCE = 2.0  # seconds for all that is read at once; then it is read from the primary
REST = 2.0  # seconds for which it is left alone after it has failed, or was too slow
LOGGED_LAG = 10.0  # seconds

_NOWHERE = Place(era=-1, seq=0)

Found = TypeVar("Found")


class Replica:
    """Reads from the standby, or from the primary.

    Regular looks at the standby tell whether it is worth trying, so that nobody waits for one that
    is behind. Each connection then proves for itself, after each commit, what it has.
    """

    def __init__(
        self, lanes: replica.Lanes, tail: Tail, *, queries: Sessions, replays: Sessions
    ) -> None:
        """`queries` and `replays` read from the primary."""
        self.sessions = replica.ReplicaSessions(lanes.engine, self._prove, queries)
        self.queries = replica.ReplicaPool(lanes.queries, self._prove)
        self.replays = replica.ReplicaSessions(lanes.replays, self._prove, replays)
        self._connect = lanes.look
        self._tail = tail
        self._clock = asyncio.get_running_loop().time
        self._reached = _NOWHERE
        self._lacking_since: float | None = self._clock()
        self._rests_until = float("-inf")
        self._pause = SOON
        self._outage = Outage("replica")
        self._reason: str | None = "it was not looked at yet"
        self._from_replica = metrics.REPLICA_READS.labels("replica")
        self._from_primary = metrics.REPLICA_READS.labels("primary")

    @property
    def usable(self) -> bool:
        """Whether it had all that is needed when it was last looked at."""
        has_all = self._tail.last is not None and self._reached >= self._tail.place
        return has_all and self._clock() >= self._rests_until

    @property
    def lag(self) -> float:
        """Seconds since it was first seen to lack something; 0 where it has everything."""
        since = self._lacking_since
        return 0.0 if since is None else self._clock() - since

    def state(self) -> dict[str, Any]:
        """For `/readyz`."""
        state: dict[str, Any] = {
            "ok": self._reason is None,
            "usable": self.usable,
            "lagSeconds": round(self.lag, 3),
        }
        return state if self._reason is None else {**state, "reason": self._reason}

    async def read(
        self,
        from_replica: Callable[[], Awaitable[Found]],
        from_primary: Callable[[], Awaitable[Found]],
    ) -> Found:
        """What the first reads by what this has; what the second reads where that cannot be."""
        if self.usable:
            try:
                async with asyncio.timeout(PATIENCE):
                    found = await from_replica()
            except (DatabaseError, TimeoutError) as error:
                self._failed(error)
            else:
                self._from_replica.inc()
                return found
        self._from_primary.inc()
        return await from_primary()

    def _failed(self, error: DatabaseError | TimeoutError) -> None:
        """Leave it alone for a while, unless only this one failed. An outage is logged by looks."""
        if not isinstance(error, UnavailableError):
            log.warning("replica_read_failed", reason=str(error) or "no answer in time")
        if not isinstance(error, BehindError | ConflictError):
            self._rests_until = self._clock() + REST

    async def run(self) -> None:
        """Look at the standby for ever; ends only by cancellation, and by SettingsError."""
        while True:
            try:
                with translated():
                    await self._watch()
            except (DatabaseError, TimeoutError) as error:
                self._reached = _NOWHERE
                self._lacks(error)
            await asyncio.sleep(RETRY)

    async def _watch(self) -> None:
        """By one connection, until that is lost, or leads to no standby of this database."""
        connection = await self._connect()
        assert isinstance(connection, replica.Connection)
        try:
            while True:
                await self._look(connection)
                await self._rest()
        finally:
            connection.terminate()

    async def _look(self, connection: replica.Connection) -> None:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT):
                self._reached = await self._examine(connection)
        except BehindError as error:
            self._lacks(error if self.lag > LOGGED_LAG else None)
        else:
            self._lacking_since = self._reason = None
            self._outage.recovered()

    async def _rest(self) -> None:
        """Until the next look: until more is needed, or soon where it has not even what was."""
        if self._reached >= self._tail.place:
            self._pause = SOON
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._tail.grown()
        else:
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, LOOK_EVERY)

    def _lacks(self, error: DatabaseError | TimeoutError | None) -> None:
        """It has not all that is needed; with an error, for a reason to be shown."""
        if self._lacking_since is None:
            self._lacking_since = self._clock()
        if error is not None:
            self._outage.failed(error)
            lost = isinstance(error, UnavailableError | TimeoutError) and not isinstance(
                error, BehindError
            )  # whose text names hosts, and belongs to the log
            self._reason = "it cannot be reached" if lost else str(error)

    async def _prove(self, connection: replica.Connection) -> None:
        """Raises BehindError where the connection's server lacks something, and as `_examine`."""
        if connection.proven is None or connection.proven < self._tail.place:
            await self._examine(connection)

    async def _examine(self, connection: replica.Connection) -> Place:
        """The place of the log up to which the connection's server has everything.

        Raises BehindError where more is needed, NoReplicaError, and the driver's exceptions.
        """
        needed, newest = self._tail.place, self._tail.newest
        found = await replica.standing(connection, newest)
        if found.seq < needed.seq:
            raise BehindError("it has not replayed yet what the primary has committed")
        if newest is not None and found.fingerprint != fingerprint(newest):
            raise NoReplicaError("it is a standby of another database: its quotes are others")
        connection.remember(needed)
        return needed


@asynccontextmanager
async def open_replica(
    lanes: replica.Lanes | None,
    tail: Tail,
    ended: Ended,
    *,
    queries: Sessions,
    replays: Sessions,
) -> AsyncIterator[Replica | None]:
    """Being looked at; None without one. `ended` is called with its task when that ends."""
    if lanes is None:
        yield None
        return
    found = Replica(lanes, tail, queries=queries, replays=replays)
    async with background(found.run(), "replica", ended):
        yield found
