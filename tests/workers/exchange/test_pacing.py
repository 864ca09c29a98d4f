"""How fast the exchange is asked, on a virtual clock."""

import asyncio
from collections import Counter

import pytest
import virtual_time

from quotes.market.sources import Priority
from workers.exchange import pacing
from workers.exchange.pacing import CONNECTIONS, Pace

EVERYTHING = 278  # tickers


class Wire:
    """What an exchange sees of requests that take `latency` seconds each."""

    def __init__(self, pace: Pace, latency: float) -> None:
        self.pace = pace
        self.latency = latency
        self.at: list[float] = []  # when each began
        self.order: list[Priority] = []
        self.in_flight: Counter[Priority] = Counter()
        self.max_in_flight: Counter[Priority] = Counter()
        self.most_at_once = 0

    async def request(self, priority: Priority = Priority.LIVE) -> None:
        async with self.pace.turn(priority):
            self.at.append(asyncio.get_running_loop().time())
            self.order.append(priority)
            self.in_flight[priority] += 1
            self.max_in_flight |= self.in_flight
            self.most_at_once = max(self.most_at_once, self.in_flight.total())
            await asyncio.sleep(self.latency)
            self.in_flight[priority] -= 1
        self.pace.answered(self.latency)

    async def requests(self, *priorities: Priority) -> None:
        async with asyncio.TaskGroup() as group:
            for priority in priorities:
                group.create_task(self.request(priority))


@pytest.mark.parametrize(("latency", "in_flight"), [(0.05, 4), (0.6, 12), (1.0, 16)])
def test_all_tickers_fit_into_half_a_minute_and_the_number_in_flight_follows_the_latency(
    latency: float, in_flight: int
) -> None:
    async def minute() -> Wire:
        wire = Wire(Pace(), latency)
        await wire.requests(*[Priority.LIVE] * EVERYTHING)
        return wire

    wire = virtual_time.run(minute)

    assert max(wire.at) < 25
    assert wire.most_at_once <= in_flight


def test_a_bucket_of_100_requests_that_refills_at_20_a_second_never_runs_dry() -> None:
    async def minutes() -> Wire:
        wire = Wire(Pace(), 0.05)
        for _ in range(3):
            await wire.requests(*[Priority.LIVE, Priority.BACKFILL] * EVERYTHING)
        return wire

    tokens, before = 100.0, 0.0
    for at in virtual_time.run(minutes).at:
        tokens = min(100.0, tokens + (at - before) * 20) - 1
        before = at
        assert tokens >= 0


def test_live_requests_pass_all_that_wait_and_the_others_follow_by_urgency() -> None:
    async def backfill_first() -> Wire:
        wire = Wire(Pace(), 0.05)
        await wire.requests(*sorted(list(Priority) * 20, reverse=True))
        return wire

    order = virtual_time.run(backfill_first).order

    rest = order[2:]  # the first two began before anything else waited
    assert rest[:20] == [Priority.LIVE] * 20
    assert rest.index(Priority.RETRY) < rest.index(Priority.PROBE) < rest.index(Priority.REPAIR)


def test_what_is_less_urgent_leaves_room_for_live_requests_however_long_it_takes() -> None:
    async def hang() -> tuple[Wire, float]:
        wire = Wire(Pace(), 1_000)
        others = [each for each in Priority if each is not Priority.LIVE]
        async with asyncio.TaskGroup() as group:
            for priority in others * 50:
                group.create_task(wire.request(priority))
            await asyncio.sleep(60)
            wire.latency = 0.05
            began = asyncio.get_running_loop().time()
            await wire.requests(*[Priority.LIVE] * EVERYTHING)
            return wire, asyncio.get_running_loop().time() - began

    wire, seconds = virtual_time.run(hang)

    assert seconds < 25
    assert wire.most_at_once <= CONNECTIONS
    assert wire.max_in_flight[Priority.BACKFILL] == pacing.SHARES[Priority.BACKFILL]


def test_a_complaint_of_the_exchange_halves_rate_and_number_and_answers_bring_them_back() -> None:
    async def complain() -> list[tuple[float, int]]:
        pace = Pace()
        seen = [(pace.rate, pace.max_in_flight)]
        pace.limited()
        pace.limited()  # the same burst of requests, answered alike
        seen.append((pace.rate, pace.max_in_flight))
        for _ in range(20):
            await asyncio.sleep(pacing.LIMIT_WINDOW)
            pace.limited()
        seen.append((pace.rate, pace.max_in_flight))
        for _ in range(100):
            pace.answered(0.05)
        return [*seen, (pace.rate, pace.max_in_flight)]

    assert virtual_time.run(complain) == [(12, 28), (6, 14), (1, 2), (12, 28)]


def test_a_waiting_request_that_is_cancelled_takes_no_place() -> None:
    async def cancel() -> Wire:
        wire = Wire(Pace(), 0.05)
        waiting = [asyncio.create_task(wire.request()) for _ in range(1_000)]
        await asyncio.sleep(1)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        wire.in_flight.clear()
        wire.most_at_once = 0
        await wire.requests(*[Priority.LIVE] * 40)
        return wire

    assert virtual_time.run(cancel).most_at_once <= pacing.BURST


def test_a_first_request_gives_up_sooner_than_a_repeated_one() -> None:
    pace = Pace()

    assert pace.timeout(Priority.LIVE) == 2
    pace.answered(1.0)
    assert pace.timeout(Priority.LIVE) == 3
    assert pace.timeout(Priority.RETRY) == 10
