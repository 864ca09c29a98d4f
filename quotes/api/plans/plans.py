"""Answers queries by their plans, and leaves to the ordinary execution what has none."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import orjson
import structlog
from graphql import GraphQLError

from quotes.api.context import Context
from quotes.api.plans import queries
from quotes.api.plans.answers import Answer, Answers, Key, Uses
from quotes.api.plans.operation import Variables
from quotes.api.plans.queries import Plan, Steps
from quotes.api.plans.root_fields import root_fields
from quotes.api.plans.selection import NotPlainError
from quotes.database.errors import DatabaseError
from quotes.live.newest import BOUND
from quotes.live.tail import Place

log = structlog.get_logger()

Reading = asyncio.Future[Answer | None]

# What a step raises where the ordinary execution is to answer, or to say what is wrong.
UNANSWERED: tuple[type[Exception], ...] = (
    GraphQLError,
    NotPlainError,
    DatabaseError,
    TimeoutError,
)


@dataclass(frozen=True, slots=True)
class Plans:
    """What answers the queries of one process."""

    context: Context
    answers: Answers
    # Answers that are being read, each with a place that the feed had come to before.
    reads: dict[Key, tuple[Place, Reading]] = field(default_factory=dict)

    async def answer(
        self, query: str, operation_name: str | None, variables: Variables | None
    ) -> Answer | None:
        """The whole response to a query that succeeds.

        None for everything else, be it wrong, refused, or of a kind that has no plan: the ordinary
        execution answers that, with the errors where there are any.
        """
        request = query, operation_name, variables
        return await self.cached(*request) or await self._read(*request)

    def known(
        self, query: str, operation_name: str | None, variables: Variables | None
    ) -> Answer | None:
        """As `answer`, where it is cached and certain to hold without waiting."""
        key = _key(query, operation_name, variables)
        if key is None or key not in self.answers or not self.context.feed.is_current(BOUND):
            return None
        return self.answers.get(key, self.context.now())

    async def cached(
        self, query: str, operation_name: str | None, variables: Variables | None
    ) -> Answer | None:
        """As `answer`, where it is cached, or is being read for another request."""
        key = _key(query, operation_name, variables)
        if key is None or (key not in self.answers and key not in self.reads):
            return None
        if not await self.context.feed.current(BOUND):
            return None
        now = self.context.now()
        return self.answers.get(key, now) or await self._shared(key, now)

    async def _shared(self, key: Key, now: datetime) -> Answer | None:
        """What another request reads. Where that fails, or is too old, each reads for itself."""
        place, reading = self.reads.get(key, (None, None))
        if reading is None or place != self.context.feed.place:
            return None
        answer = await asyncio.shield(reading)
        return answer if answer is not None and answer.holds(now) else None

    async def _read(
        self, query: str, operation_name: str | None, variables: Variables | None
    ) -> Answer | None:
        """From the database and from memory."""
        place, now = self.context.feed.place, self.context.now()
        plan = _planned(query, operation_name, variables, now)
        if plan is None or plan.steps is None:
            return None
        key = _key(query, operation_name, variables)
        uses = self.answers.uses_of(root_fields(query, operation_name))
        if key is None:
            return await self._executed(plan.steps, now, uses)
        reading: Reading = asyncio.get_running_loop().create_future()
        self.reads[key] = place, reading
        answer = None
        try:
            answer = await self._executed(plan.steps, now, uses)
            if answer is not None and answer.holds(now):
                self.answers.put(key, answer, place)
        finally:
            if self.reads.get(key) == (place, reading):
                del self.reads[key]
            reading.set_result(answer)
        return answer

    async def _executed(self, steps: Steps, now: datetime, uses: Uses) -> Answer | None:
        parts: list[bytes] = []
        scopes = []
        try:
            for key, step, arguments in steps:  # in turn: it holds one connection at a time
                text, scope = await step(self.context, arguments, now)
                parts.append(b'"%b":%b' % (key.encode(), text))
                scopes.append(scope)
        except UNANSWERED:
            return None
        except Exception:
            log.exception("plan_failed")
            return None
        body = b'{"data":{%b}}' % b",".join(parts)
        return Answer(body, tuple(scopes), uses)


def _planned(
    query: str, operation_name: str | None, variables: Variables | None, now: datetime
) -> Plan | None:
    with suppress(Exception):  # whatever it is, the ordinary execution meets it, too
        return queries.plan(query, operation_name, variables or {}, now)
    return None


def _key(query: str, operation_name: str | None, variables: Variables | None) -> Key | None:
    """None for variables that no answer is cached for, as a number beyond 64 bits."""
    try:
        return query, operation_name, orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None
