"""The fan-out and its subscribers, with connections and a log that are modelled."""

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import pytest
from rows import until

from quotes.database.errors import BusyError, UnavailableError
from quotes.live.fan_out import FanOut, Topic
from quotes.live.feed import CursorLostError
from quotes.live.subscriber import Batch, Subscriber


@dataclass(frozen=True)
class Event:
    seq: int
    ticker: str = "btc_usd"


class Log:
    """A log in memory, whose end `grow` moves."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.history = 0
        self.last = 0
        self.grown = asyncio.Event()

    def grow(self, *tickers: str) -> None:
        self.events += [Event(self.last + n, ticker) for n, ticker in enumerate(tickers, 1)]
        self.end_at(self.last + len(tickers))

    def end_at(self, last: int) -> None:
        self.last = last
        self.grown.set()
        self.grown = asyncio.Event()

    async def position(self) -> int:
        return self.last

    async def beyond(
        self, cursor: int, tickers: Collection[str] | None, history: int
    ) -> tuple[Sequence[Event], int]:
        while self.last == cursor and self.history == history:
            await self.grown.wait()
        if self.last < cursor or self.history != history:
            raise CursorLostError
        after = [event for event in self.events if event.seq > cursor]
        return [each for each in after if tickers is None or each.ticker in tickers], self.last


class Connection:
    """A sink as real ones are: it is full with three messages, and has room when it is empty."""

    def __init__(self, *, slow: bool = False) -> None:
        self.slow = slow
        self.buffer: list[int] = []
        self.received: list[int] = []
        self.room = asyncio.Event()
        self.room.set()

    def try_write(self, message: bytes) -> bool:
        if not self.room.is_set():
            return False
        self.buffer.append(int(message))
        if not self.slow:
            self.drain()
        elif len(self.buffer) >= 3:
            self.room.clear()
        return True

    def try_write_all(self, messages: Sequence[bytes]) -> bool:
        if not self.room.is_set():
            return False
        for message in messages[:-1]:
            self.buffer.append(int(message))
        return self.try_write(messages[-1])

    async def write(self, message: bytes) -> None:
        while not self.try_write(message):
            await self.room.wait()

    def drain(self) -> None:
        self.received += self.buffer
        self.buffer = []
        self.room.set()


def encode(event: Event) -> bytes:
    return str(event.seq).encode()


EVERYTHING: Topic[Event] = Topic(encode, None)


class Running:
    """A fan-out that runs, and its subscribers."""

    def __init__(self, at_once: int) -> None:
        self.log = Log()
        self.fan_out = FanOut(self.log, at_once)
        self.tasks = [asyncio.create_task(self.fan_out.run())]

    async def __aenter__(self) -> Self:
        await turns()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def subscribe(
        self, connection: Connection, topic: Topic[Event] = EVERYTHING, cursor: int = 0
    ) -> Subscriber:
        subscriber = Subscriber(connection, 0, cursor)
        self.tasks.append(asyncio.create_task(self.fan_out.deliver(subscriber, topic)))
        return subscriber


async def turns(count: int = 10) -> None:
    """Let all others run for so many turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def turns_until(condition: Callable[[], bool]) -> None:
    """Let all others run, and look after each turn."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # not a moment later than it holds
            await asyncio.sleep(0)


@pytest.mark.parametrize("at_once", [3, 50, 250])
async def test_600_subscribers_a_third_of_them_slow_get_everything_once_and_in_order(
    at_once: int,
) -> None:
    dice = random.Random(7)  # noqa: S311  # no secret
    connections = [Connection(slow=number % 3 == 0) for number in range(600)]
    btc: Topic[Event] = Topic(encode, frozenset({"btc_usd"}))

    async def drain_some() -> None:
        while True:
            await asyncio.sleep(0)
            for connection in connections:
                if connection.buffer and dice.random() < 0.3:
                    connection.drain()

    async with Running(at_once) as running:
        for number, connection in enumerate(connections):
            running.subscribe(connection, EVERYTHING if number % 2 else btc)
        draining = asyncio.create_task(drain_some())
        for _ in range(150):
            running.log.grow(*dice.choices(["btc_usd", "eth_usd"], k=dice.randint(1, 4)))
            await turns(dice.randint(0, 3))
        everything = [each.seq for each in running.log.events]
        btc_only = [each.seq for each in running.log.events if each.ticker == "btc_usd"]
        with suppress(TimeoutError):  # whatever is missing then is in the assertion
            await until(lambda: all(len(each.received) >= len(btc_only) for each in connections))
            await until(
                lambda: all(len(each.received) >= len(everything) for each in connections[1::2])
            )
        draining.cancel()

    assert [each.received for each in connections[1::2]] == [everything] * 300
    assert [each.received for each in connections[::2]] == [btc_only] * 300


async def test_a_subscriber_whose_buffer_drains_between_two_rounds_gets_the_older_event_first() -> (
    None
):
    full = Connection(slow=True)
    async with Running(at_once=1) as running:
        others = [Connection() for _ in range(5)]
        for connection in (*others, full):
            running.subscribe(connection)
        await turns()
        running.log.grow("btc_usd", "btc_usd", "btc_usd")
        await turns()
        assert not full.room.is_set()

        running.log.grow("btc_usd")  # the full one falls behind
        running.log.grow("btc_usd")  # a second round begins before its own task has had a turn
        asyncio.get_running_loop().call_soon(full.drain)
        await turns(50)
        full.drain()
        await turns(50)
        full.drain()

    assert full.received == [1, 2, 3, 4, 5]
    assert [each.received for each in others] == [[1, 2, 3, 4, 5]] * 5


async def test_a_subscriber_that_catches_up_during_a_round_waits_for_no_other_commit() -> None:
    async with Running(at_once=1) as running:
        early = [Connection() for _ in range(10)]
        for connection in early:
            running.subscribe(connection)
        await turns()
        late = Connection()
        running.log.grow("btc_usd")
        await turns_until(lambda: any(each.received for each in early))
        assert not all(each.received for each in early)  # the round is under way

        running.subscribe(late, cursor=0)
        await turns(50)

        assert late.received == [1]
        assert [each.received for each in early] == [[1]] * 10
        running.log.grow("btc_usd")
        await turns(50)
        assert late.received == [1, 2]


async def test_a_subscriber_ahead_of_the_fan_out_is_not_given_again_what_it_has_had() -> None:
    async with Running(at_once=1) as running:
        early = [Connection() for _ in range(10)]
        for connection in early:
            running.subscribe(connection)
        await turns()
        running.log.grow("btc_usd")
        await turns_until(lambda: any(each.received for each in early))
        running.log.grow("btc_usd")  # which the fan-out reads when its round is done
        ahead = Connection()

        running.subscribe(ahead, cursor=1)  # reads it first
        await turns(50)

        assert ahead.received == [2]


async def test_a_fan_out_waits_for_a_log_that_was_never_read_yet() -> None:
    class Unread(Log):
        async def position(self) -> int:
            if not self.events:
                await asyncio.sleep(0)
                raise UnavailableError("the log could not be read yet")
            return self.last

    log = Unread()
    fan_out = FanOut(log)
    running = asyncio.create_task(fan_out.run())
    await turns()
    assert not running.done()
    log.grow("btc_usd")
    connection = Connection()

    delivering = asyncio.create_task(fan_out.deliver(Subscriber(connection, 0, 0), EVERYTHING))

    await until(lambda: connection.received == [1])
    for task in (running, delivering):
        task.cancel()
    await asyncio.gather(running, delivering, return_exceptions=True)


async def test_a_log_that_cannot_be_read_holds_up_nothing_else() -> None:
    class Ended(Log):
        reads = 0

        async def beyond(self, *_: object) -> tuple[Sequence[Event], int]:
            self.reads += 1
            if self.reads > 100:
                raise ZeroDivisionError  # or no other task would ever have a turn
            raise BusyError("the statement took too long")

    log = Ended()
    running = asyncio.create_task(FanOut(log).run())
    await turns()
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert log.reads == 1


async def test_whoever_is_ahead_of_a_log_that_went_back_is_refused_and_does_not_wait() -> None:
    full = Connection(slow=True)
    async with Running(at_once=1) as running:
        running.log.grow(*["btc_usd"] * 10)
        live = running.subscribe(Connection(), cursor=10)
        running.subscribe(full, cursor=6)
        await turns()
        assert live.cursor == 10
        assert not full.room.is_set()  # it waits with the last of what it has read

        running.log.events = running.log.events[:5]
        running.log.end_at(5)
        await turns(50)
        full.drain()
        await turns(50)

        _, *ends = running.tasks
        assert [type(each.exception()) for each in ends] == [CursorLostError, CursorLostError]


async def test_a_subscriber_to_a_log_that_is_replaced_by_a_longer_one_is_refused() -> None:
    full = Connection(slow=True)
    async with Running(at_once=1) as running:
        running.log.grow(*["btc_usd"] * 10)
        live = running.subscribe(Connection(), cursor=10)
        running.subscribe(full, cursor=6)
        await turns()
        assert live.cursor == 10

        running.log.history += 1
        running.log.grow(*["btc_usd"] * 10)
        await turns(50)
        full.drain()
        await turns(50)

        _, *ends = running.tasks
        assert [type(each.exception()) for each in ends] == [CursorLostError, CursorLostError]
        assert live.cursor == 10


async def test_conflation_gives_the_newest_of_each_ticker_and_leaves_out_the_rest() -> None:
    connection = Connection()
    async with Running(at_once=250) as running:
        running.log.grow("btc_usd", "eth_usd", "btc_usd")
        subscriber = Subscriber(connection, 0, 0)
        running.tasks.append(
            asyncio.create_task(running.fan_out.deliver(subscriber, EVERYTHING, 0.001))
        )
        await until(lambda: connection.received == [2, 3])

        running.log.grow("btc_usd", "btc_usd")
        await until(lambda: connection.received == [2, 3, 5])


def batch(after: int, *seqs: int, upto: int | None = None) -> Batch:
    messages = [(seq, str(seq).encode()) for seq in seqs]
    return Batch(after, messages, max(seqs) if upto is None else upto)


async def test_a_subscriber_is_never_given_what_would_break_its_order() -> None:
    connection = Connection()
    subscriber = Subscriber(connection, 0, 5)
    live = asyncio.create_task(subscriber.until_behind())
    await asyncio.sleep(0)

    subscriber.push(batch(5, 6, 7))
    subscriber.push(batch(5, 6, 7))  # the same again
    subscriber.push(batch(6, 7, 8))  # a part of it again
    subscriber.push(batch(8, 10, 9))  # not in order
    assert connection.received == [6, 7, 8, 10]
    assert not live.done()

    subscriber.push(batch(11, 12))  # 11 was never given
    subscriber.push(batch(10, 11))  # no longer live

    await turns()
    assert live.done()
    assert connection.received == [6, 7, 8, 10]
    assert subscriber.cursor == 10


async def test_what_a_subscriber_reads_itself_is_bounded_by_its_batch() -> None:
    connection = Connection()
    subscriber = Subscriber(connection, 0)

    await subscriber.write(batch(-1, 3, 7, 9, upto=8))
    await subscriber.write(batch(8, 9, 10))

    assert connection.received == [3, 7, 9, 10]
    with pytest.raises(AssertionError):
        await subscriber.write(batch(11, 12))
    assert connection.received == [3, 7, 9, 10]


async def test_a_live_subscriber_does_not_write_itself() -> None:
    subscriber = Subscriber(Connection(), 0, 0)
    live = asyncio.create_task(subscriber.until_behind())
    await asyncio.sleep(0)

    with pytest.raises(AssertionError):
        await subscriber.write(batch(0, 1))

    live.cancel()
    await asyncio.gather(live, return_exceptions=True)
