"""Answers queries by their plans, and leaves to the ordinary execution what has none."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import orjson

from quotes.api.context import Context
from quotes.api.errors import RefusedError
from quotes.api.plans import queries, results
from quotes.api.plans.answers import Answer, Answers, Key
from quotes.api.plans.operation import Variables
from quotes.api.plans.queries import Plan
from quotes.api.plans.root_fields import root_fields
from quotes.api.plans.scope import FOREVER
from quotes.api.schema import schema
from quotes.live.newest import BOUND
from quotes.live.tail import Place

Reading = asyncio.Future[Answer | None]
Pay = Callable[[int], None]  # is given an operation's points before it is executed
# Is given the points that an operation may cost, and has a place for it in which it is paid for.
Admit = Callable[[int], AbstractAsyncContextManager[Pay]]


def free(points: int) -> None:
    """Nobody pays."""


def always(points: int) -> AbstractAsyncContextManager[Pay]:
    return nullcontext(free)


@dataclass(frozen=True, slots=True)
class Plans:
    """What answers the queries of one process."""

    context: Context
    answers: Answers
    # Answers that are being read, each with a place that the feed had come to before.
    reads: dict[Key, tuple[Place, Reading]] = field(default_factory=dict)

    async def answer(
        self,
        query: str,
        operation_name: str | None,
        variables: Variables | None,
        admit: Admit = always,
    ) -> Answer | None:
        """The whole response to a valid query, be it with data or with its fields' errors.

        None for everything else: the ordinary execution answers that, which executes none of it.
        What is cached needs no admission. Raises RefusedError for what costs too much, and what
        `admit` raises.
        """
        request = query, operation_name, variables
        if (answer := await self.cached(*request)) is not None:
            return answer
        plan = _planned(*request, self.context.now())
        if plan is None:
            return None
        of_the_schema = queries.of_the_schema(plan)
        async with admit(plan.points) as pay:
            if (answer := await self.cached(*request)) is not None:  # since it had to wait
                return answer
            pay(plan.points)
            return await self._read(*request, plan, of_the_schema=of_the_schema)

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
        if reading is None or place != self.context.feed.tail.place:
            return None
        answer = await asyncio.shield(reading)
        return answer if answer is not None and answer.holds(now) else None

    async def _read(
        self,
        query: str,
        operation_name: str | None,
        variables: Variables | None,
        plan: Plan,
        *,
        of_the_schema: bool,
    ) -> Answer | None:
        """From the database and from memory."""
        place, now = self.context.feed.tail.place, self.context.now()
        collected = self.context.collected
        if of_the_schema:
            read = self._of_the_schema(query, operation_name, variables, plan.points)
        else:
            read = results.result(plan, self.context, now)
        key = _key(query, operation_name, variables)
        if key is None:
            return await read
        reading: Reading = asyncio.get_running_loop().create_future()
        self.reads[key] = place, reading
        answer = None
        try:
            answer = await read
            if (
                answer is not None
                and answer.holds(now)
                and self.context.collected is collected  # which it may show
            ):
                answer.uses = self.answers.uses_of(root_fields(query, operation_name))
                self.answers.put(key, answer, place)
        finally:
            if self.reads.get(key) == (place, reading):
                del self.reads[key]
            reading.set_result(answer)
        return answer

    async def _of_the_schema(
        self, query: str, operation_name: str | None, variables: Variables | None, points: int
    ) -> Answer | None:
        """By the ordinary execution, in a thread; None where it has errors."""
        execute = partial(schema.execute_sync, operation_name=operation_name)
        result = await self.context.thread.run(execute, query, variables, self.context)
        if result.errors:
            return None
        body = orjson.dumps({"data": result.data})
        return Answer(body, (FOREVER,), requested=points, actual=points)


def _planned(
    query: str, operation_name: str | None, variables: Variables | None, now: datetime
) -> Plan | None:
    """None for what the ordinary execution refuses, too. Raises RefusedError."""
    try:
        return queries.plan(query, operation_name, variables or {}, now)
    except RefusedError:
        raise
    except Exception:  # noqa: BLE001  # whatever it is, the ordinary execution meets it, too
        return None


def _key(query: str, operation_name: str | None, variables: Variables | None) -> Key | None:
    """None for variables that no answer is cached for, as a number beyond 64 bits."""
    try:
        return query, operation_name, orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None
