"""Answers queries by their plans, and leaves to the ordinary execution what has none."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import orjson
import structlog
from graphql import GraphQLError

from quotes.api.context import Context
from quotes.api.execution import NotPlainError
from quotes.api.plans.answers import Answer, Answers, Key
from quotes.api.plans.queries import Plan, Variables, compiled
from quotes.database.errors import DatabaseError
from quotes.live.newest import BOUND

log = structlog.get_logger()

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

    async def answer(
        self, query: str, operation_name: str | None, variables: Variables | None
    ) -> Answer | None:
        """The whole response to a query that succeeds.

        None for everything else, be it wrong, refused, or of a kind that has no plan: the ordinary
        execution answers that, with the errors where there are any.
        """
        request = query, operation_name, variables
        return await self.cached(*request) or await self.read(*request)

    async def cached(
        self, query: str, operation_name: str | None, variables: Variables | None
    ) -> Answer | None:
        """As `answer`, where it was answered before and nothing has changed it since."""
        key = _key(query, operation_name, variables)
        if key is None or key not in self.answers or not await self.context.feed.current(BOUND):
            return None
        return self.answers.get(key, self.context.now())

    async def read(
        self, query: str, operation_name: str | None, variables: Variables | None
    ) -> Answer | None:
        """As `answer`, from the database and from memory."""
        plan = _planned(query, operation_name, variables)
        if plan is None:
            return None
        key = _key(query, operation_name, variables)
        place, now = self.context.feed.place, self.context.now()
        answer = await self._read(plan, now)
        if key is not None and answer is not None and answer.holds(now):
            self.answers.put(key, answer, place)
        return answer

    async def _read(self, plan: Plan, now: datetime) -> Answer | None:
        parts: list[bytes] = []
        scopes = []
        try:
            for field in plan.fields:  # in turn: one operation holds one connection at a time
                text, scope = await field.step(self.context, field.arguments(plan.variables), now)
                parts += field.head, text
                scopes.append(scope)
        except UNANSWERED:
            return None
        except Exception:
            log.exception("plan_failed")
            return None
        body = b'{"data":{%b}}' % b"".join(parts)
        return Answer(body, tuple(scopes))


def _planned(query: str, operation_name: str | None, variables: Variables | None) -> Plan | None:
    operation = compiled(query, operation_name)
    with suppress(Exception):  # whatever it is, the ordinary execution meets it, too
        return None if operation is None else operation.plan(variables or {})
    return None


def _key(query: str, operation_name: str | None, variables: Variables | None) -> Key | None:
    """None for variables that no answer is kept for, as a number beyond 64 bits."""
    try:
        return query, operation_name, orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None
