"""One GraphQL operation and its payloads, whatever connection they go out on."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from strawberry.http import process_result

from quotes.api import cursors
from quotes.api.context import Context
from quotes.api.errors import Refusal, told
from quotes.api.payloads import Selections, Updates
from quotes.api.schema import ahead, schema, start
from quotes.database import store
from quotes.live.fan_out import Audience, Follower
from quotes.live.feed import CursorAheadError
from quotes.server.connection_limits import Crowd

log = structlog.get_logger()


class MalformedError(Exception):
    """What was sent is no GraphQL request; the message says why."""


class FailedError(Exception):
    """The operation has ended with errors, as a client reads them."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors)
        self.errors = errors


class AwayError(Exception):
    """The database is away, and the client had better come again with its cursor."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What a client asks for."""

    query: str
    name: str | None
    variables: dict[str, Any] | None

    @classmethod
    def of(cls, request: object) -> "Operation":
        """From a request's JSON. Raises MalformedError where a part has a wrong type."""
        if not isinstance(request, dict):
            raise MalformedError("A request is a JSON object.")
        query, name, variables = (
            request.get(key) for key in ("query", "operationName", "variables")
        )
        if not isinstance(query, str):
            raise MalformedError("`query` must be a string.")
        if not isinstance(name, str | None):
            raise MalformedError("`operationName` must be a string or null.")
        if not isinstance(variables, dict | None):
            raise MalformedError("`variables` must be an object or null.")
        if not isinstance(request.get("extensions"), dict | None):
            raise MalformedError("`extensions` must be an object or null.")
        return cls(query, name or None, variables)  # an empty name is none


def json_of(text: str | bytes) -> Any:
    """Raises MalformedError for what is no JSON, or has numbers that JSON does not."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise MalformedError("That is not JSON.") from None


def _no_number(name: str) -> float:
    raise ValueError(name)


@dataclass(frozen=True, slots=True)
class Streams:
    """What every connection that carries operations uses."""

    context: Context
    selections: Selections
    audience: Audience
    crowd: Crowd
    ending: asyncio.Event  # set when the server is told to stop

    async def payloads(
        self, operation: Operation, resume: str | None = None
    ) -> AsyncGenerator[tuple[str, str | None], None]:
        """Each payload as JSON, with its cursor if it has one. Ends by itself, or by an error.

        Raises FailedError for what ends the operation, AwayError for what must end its connection.
        `resume` is the cursor that a subscription goes on from, in place of its own `after`.
        """
        updates = self.selections.read(operation.query, operation.name, operation.variables)
        source = self._ordinary(operation) if updates is None else self._shared(updates, resume)
        async with aclosing(source):
            async for payload in source:
                yield payload

    async def attend(
        self, updates: Updates, say: Callable[[str], Awaitable[None]], follower: Follower
    ) -> None:
        """Carry all of `updates` to the follower, for ever: by `say` until it has caught up.

        Raises as `payloads`.
        """
        with self.crowd.subscribed(), self._told(updates):
            begin = await start(self.context, updates.tickers, updates.after)
            for quote in begin.snapshot:
                await say(self.selections.payload(updates.selection, quote))
            follower.cursor = begin.cursor
            wanted = updates.selection, begin.tickers
            while True:
                await self.audience.attend(follower, wanted)
                quotes, cursor = await self.context.feed.beyond(follower.cursor, begin.tickers)
                for quote in quotes:
                    await say(self.selections.payload(updates.selection, quote))
                follower.cursor = cursor

    async def _shared(
        self, updates: Updates, resume: str | None
    ) -> AsyncGenerator[tuple[str, str | None], None]:
        quotes = updates.quotes(self.context, resume)
        with self.crowd.subscribed(), self._told(updates):
            async with aclosing(quotes):
                async for quote in quotes:
                    payload = self.selections.payload(updates.selection, quote)
                    yield payload, cursors.stream(quote.seq)

    @contextmanager
    def _told(self, updates: Updates) -> Iterator[None]:
        """What goes wrong inside, in the words of a connection."""
        try:
            yield
        except Refusal as refusal:
            raise FailedError([updates.told(refusal)]) from None
        except CursorAheadError:
            raise FailedError([updates.told(ahead())]) from None
        except store.LOST as error:
            log.warning("subscription_lost_database", reason=repr(error))
            raise AwayError from error

    async def _ordinary(self, operation: Operation) -> AsyncGenerator[tuple[str, None], None]:
        """By Strawberry's own execution: queries, other subscriptions, and what is wrong."""
        results: Any = await schema.stream(
            operation.query,
            variable_values=operation.variables,
            context_value=self.context,
            operation_name=operation.name,
        )
        async with aclosing(results):
            async for result in results:
                if result.data is None and result.errors and result.errors[0].path is None:
                    raise FailedError([{**told(error).formatted} for error in result.errors])
                yield json.dumps(process_result(result), separators=(",", ":")), None
