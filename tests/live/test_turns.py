import asyncio
from collections.abc import Hashable

from quotes.live.turns import Turns, client


class Hall:
    """Turns, and the order in which they came."""

    def __init__(self, most: int) -> None:
        self.turns = Turns(most)
        self.came: list[str] = []
        self.most_at_once = 0
        self._now = 0

    async def visit(self, address: str, connection: Hashable, name: str) -> None:
        client.set((address, connection))
        async with self.turns.turn():
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self.came.append(name)
            await asyncio.sleep(0)
            self._now -= 1


async def test_no_more_than_so_many_have_a_turn_at_once() -> None:
    hall = Hall(3)

    await asyncio.gather(*(hall.visit("a", 0, "") for _ in range(20)))

    assert hall.most_at_once == 3
    assert len(hall.came) == 20


async def test_one_connection_with_a_hundred_waiting_takes_nobody_s_turn() -> None:
    hall = Hall(1)
    many = [hall.visit("a", 1, "many") for _ in range(100)]
    few = [hall.visit("a", connection, f"few {connection}") for connection in (2, 3)]

    await asyncio.gather(*many, *few)

    assert max(hall.came.index(f"few {each}") for each in (2, 3)) <= 3


async def test_one_address_with_a_hundred_connections_takes_nobody_s_turn() -> None:
    hall = Hall(1)
    many = [hall.visit("a", connection, "many") for connection in range(100)]

    await asyncio.gather(*many, hall.visit("b", 0, "other"))

    assert hall.came.index("other") <= 2


async def test_whoever_leaves_while_waiting_takes_no_turn_with_it() -> None:
    hall = Hall(1)
    await hall.turns.take()
    leaving = [asyncio.create_task(hall.visit("a", 0, "left")) for _ in range(2)]
    staying = asyncio.create_task(hall.visit("b", 0, "stayed"))
    await asyncio.sleep(0)
    leaving[0].cancel()

    hall.turns.give()  # and the next one's turn comes in the round in which it leaves
    leaving[1].cancel()

    await staying
    await asyncio.gather(*leaving, return_exceptions=True)
    await hall.visit("c", 0, "later")
    assert hall.came[-2:] == ["stayed", "later"]


async def test_whoever_has_left_is_counted_no_more() -> None:
    turns = Turns(1)
    await turns.take()
    waiting = [asyncio.create_task(turns.take()) for _ in range(3)]
    await asyncio.sleep(0)
    assert turns.waiting == 3

    for task in waiting[:2]:
        task.cancel()
    await asyncio.gather(*waiting[:2], return_exceptions=True)

    assert turns.waiting == 1
    turns.give()
    await waiting[2]
    assert turns.waiting == 0
