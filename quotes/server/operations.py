"""One GraphQL operation and its payloads, whatever connection they are written to."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from graphql import GraphQLError
from strawberry.http import process_result

from quotes.api.context import Context, require_known
from quotes.api.errors import Code, RefusedError, refusal_of, request_errors
from quotes.api.history.candles import clocks
from quotes.api.plans import subscriptions
from quotes.api.plans.answers import Answer
from quotes.api.plans.documents import subscribes, valid
from quotes.api.plans.plans import Pay, Plans
from quotes.api.plans.subscriptions import (
    CandleMessages,
    Payloads,
    QuoteMessages,
    Shared,
)
from quotes.api.price_updates import cursor_lost, start
from quotes.api.schema import schema
from quotes.database.errors import DatabaseError, UnavailableError
from quotes.database.models import Quote
from quotes.live.candle_log import CandleStreams
from quotes.live.fan_out import FanOut, Topic
from quotes.live.feed import CursorLostError
from quotes.live.subscriber import Batch, Subscriber
from quotes.server import documents
from quotes.server.access import Access
from quotes.server.graphql_request import Operation
from quotes.server.limits.admission import Admission
from quotes.server.limits.budgets import Budgets
from quotes.server.limits.connection_limits import ConnectionLimits
from quotes.server.monitoring.query_metrics import OK, Query, code_of, measured
from quotes.server.streams.operation_sink import OperationSink

log = structlog.get_logger()


class FailedError(Exception):
    """The operation has ended with errors, as a client reads them."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors)
        self.errors = errors

    @property
    def cursor_is_lost(self) -> bool:
        return any(
            error.get("extensions", {}).get("code") == Code.CURSOR_LOST for error in self.errors
        )


@dataclass(frozen=True, slots=True)
class Streams:
    """What every connection that carries operations uses."""

    context: Context
    plans: Plans
    payloads: Payloads
    fan_out: FanOut[Quote]
    candles: CandleStreams
    access: Access
    connection_limits: ConnectionLimits
    admission: Admission
    budgets: Budgets
    ended_by_shutdown: set[asyncio.Task[None]]  # whose connections would delay a shutdown

    async def deliver(
        self, operation: Operation, sink: OperationSink, resume: str | None = None
    ) -> None:
        """Write each payload of an operation, until it has ended: a subscription, by an error.

        `resume` is the cursor that a subscription continues from, in place of its own `after`; an
        empty one means none, and begins with the newest quotes.
        Raises FailedError for what ends the operation; UnavailableError, which must end its
        connection, so that the client reconnects with its cursor; SinkClosedError.
        """
        with measured(operation.query, operation.name) as query, _failing(query):
            await documents.check(self.context.thread, operation.query, operation.variables)
            shared = subscriptions.shared(operation.query, operation.name, operation.variables)
            if shared is not None:
                self.budgets.payment().pay(shared.points)
        if shared is None:
            await self._execute(operation, sink)
            return
        with self.connection_limits.subscribed(), _errors_of(shared):
            if shared.field == "priceUpdates":
                await self._deliver_prices(shared, sink, resume)
            else:
                await self._deliver_candles(shared, sink)

    async def _deliver_prices(
        self, shared: Shared, sink: OperationSink, resume: str | None
    ) -> None:
        subscriber, topic = await self._started(shared, sink, resume)
        await self.fan_out.deliver(subscriber, topic, shared.arguments.get("minInterval"))

    async def _started(
        self, shared: Shared, sink: OperationSink, resume: str | None
    ) -> tuple[Subscriber, Topic[Quote]]:
        """A subscriber to which the snapshot, if any, has been written.

        In a function of its own, so that the snapshot, which may hold hundreds of quotes, is freed.
        """
        tickers, after, interval = (
            shared.arguments.get(name) for name in ("tickers", "after", "minInterval")
        )
        if resume is not None:
            after = resume or None
        begin = await start(self.context, tickers, after, interval)
        encode = QuoteMessages(self.payloads, shared.shown, sink.envelope)
        topic = Topic(encode, begin.tickers)
        subscriber = Subscriber(sink, begin.history)
        await subscriber.write(Batch(-1, topic.messages(begin.snapshot), begin.cursor))
        if interval is not None and begin.snapshot:
            await asyncio.sleep(interval)
        return subscriber, topic

    async def _deliver_candles(self, shared: Shared, sink: OperationSink) -> None:
        ticker, interval = shared.arguments["ticker"], shared.arguments["interval"]
        zone = clocks(shared.arguments.get("timeZone"))
        await require_known(self.context, [ticker])
        async with self.candles.joined(ticker, interval, zone) as stream:
            topic = Topic(CandleMessages(shared.shown, sink.envelope), None)
            subscriber = Subscriber(sink, stream.log.history)
            begin, end = await stream.log.snapshot()
            await subscriber.write(Batch(-1, topic.messages(begin), end))
            await stream.fan_out.deliver(subscriber, topic)

    async def _execute(self, operation: Operation, sink: OperationSink) -> None:
        """Queries by their plans; whatever has no plan, or is invalid, by Strawberry."""
        document = valid(operation.query)
        if document is not None and subscribes(document, operation.name):
            await self._stream(operation, sink)  # which lasts, and must not occupy a query's place
            return
        with measured(operation.query, operation.name) as query, _failing(query):
            payloads = await self._answers(operation, query)
        for payload in payloads:
            await sink.write(sink.envelope(payload, None))

    async def read(self, operation: Operation) -> Answer | None:
        """As `Plans.answer`; the task's client pays for it. An answer from the cache is free."""
        payment = self.budgets.payment()

        @asynccontextmanager
        async def admitted(points: int) -> AsyncIterator[Pay]:
            async with self.admission.admitted(points):
                yield payment.pay

        request = operation.query, operation.name, operation.variables
        answer = await self.plans.answer(*request, admitted)
        if answer is not None:
            payment.settle(answer.actual)
        return answer

    async def _answers(self, operation: Operation, query: Query) -> list[bytes]:
        answer = await self.read(operation)
        if answer is not None:
            query.code = answer.error or OK
            return [answer.with_cost() if operation.shows_cost else answer.body]
        try:
            async with self.admission.admitted():
                results = [result async for result in self._results(operation)]
        except FailedError as failed:
            query.code = code_of(failed.errors)
            raise
        query.code = code_of(error for result in results for error in result.get("errors", ()))
        return [_encoded(result) for result in results]

    async def _stream(self, operation: Operation, sink: OperationSink) -> None:
        async with aclosing(self._results(operation)) as results:
            async for result in results:
                await sink.write(sink.envelope(_encoded(result), None))

    async def _results(self, operation: Operation) -> AsyncGenerator[Any, None]:
        results: Any = await schema.stream(
            operation.query,
            variable_values=operation.variables,
            context_value=self.context,
            operation_name=operation.name,
        )
        async with aclosing(results):
            async for result in results:
                if result.data is None and result.errors and result.errors[0].path is None:
                    suggest = self.context.settings.introspection
                    errors = request_errors(result.errors, suggest=suggest)
                    raise FailedError([{**error.formatted} for error in errors])
                yield process_result(result)


def _encoded(result: Any) -> bytes:
    return json.dumps(result, separators=(",", ":")).encode()


@contextmanager
def _failing(query: Query) -> Iterator[None]:
    """Turn what refuses it into its client's errors."""
    try:
        yield
    except GraphQLError as error:
        query.code = code_of([error.formatted])
        raise FailedError([{**error.formatted}]) from None


@contextmanager
def _errors_of(shared: Shared) -> Iterator[None]:
    """Turn what goes wrong with a shared subscription into its client's errors."""
    try:
        yield
    except RefusedError as refusal:
        raise FailedError([shared.error(refusal)]) from None
    except CursorLostError:
        raise FailedError([shared.error(cursor_lost())]) from None
    except UnavailableError:
        raise
    except DatabaseError as error:
        raise FailedError([shared.error(refusal_of(error))]) from None
