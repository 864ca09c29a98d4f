"""That new documents hold nobody up."""

import asyncio
from collections import Counter

import pytest
from graphql import GraphQLError

from quotes.api import documents
from quotes.api.errors import Code, RefusedError
from quotes.api.plans.documents import core
from quotes.live.thread import Thread
from quotes.server.documents import MAX_WAITING, MAX_WAITING_SHORT, SHORT, check


def long(number: int) -> str:
    return f"{{ a{number}: __typename {' '.join(['__typename'] * SHORT)} }}"


async def test_a_long_new_document_is_checked_beside_the_loop() -> None:
    checking = asyncio.create_task(check(Thread(), long(0)))
    await asyncio.sleep(0)
    assert not checking.done()

    await checking

    known = documents.known(core, long(0))
    assert known is not None
    assert known.valid


async def test_a_known_document_is_not_checked_again() -> None:
    await check(Thread(), long(0))

    coroutine = check(Thread(), long(0))
    with pytest.raises(StopIteration):  # it has ended without a wait
        coroutine.send(None)


async def test_more_new_documents_than_can_be_checked_soon_are_refused() -> None:
    thread = Thread()
    waiting = [
        asyncio.create_task(check(thread, long(number))) for number in range(1, MAX_WAITING + 2)
    ]
    await asyncio.sleep(0)

    with pytest.raises(RefusedError) as refused:
        await check(thread, long(1_000))

    assert refused.value.code is Code.OVERLOADED
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_of_many_short_ones_one_is_checked_in_each_round_of_the_event_loop() -> None:
    thread, now, checked_in_round = Thread(), 0, Counter[int]()

    async def checked(number: int) -> None:
        await check(thread, f"query Short{number} {{ __typename }}")
        checked_in_round[now] += 1

    checks = [asyncio.create_task(checked(number)) for number in range(MAX_WAITING_SHORT + 3)]
    while not all(each.done() for each in checks):
        now += 1
        await asyncio.sleep(0)

    refused = [each.exception() for each in checks if each.exception() is not None]
    assert [type(each) for each in refused] == [RefusedError] * 2  # beside those that wait
    assert sum(checked_in_round.values()) == MAX_WAITING_SHORT + 1
    assert max(checked_in_round.values()) == 1


@pytest.mark.parametrize("query", ["", "{", "{" + "#" * 40_000])
async def test_what_cannot_be_parsed_is_refused(query: str) -> None:
    with pytest.raises(GraphQLError) as refused:
        await check(Thread(), query)

    assert refused.value.extensions
    assert refused.value.extensions["code"] == Code.BAD_INPUT


async def test_a_list_of_thousands_is_refused_before_it_is_looked_through() -> None:
    with pytest.raises(RefusedError, match="at most 1,000 entries"):
        await check(Thread(), "{ __typename }", {"tickers": ["BTC"] * 1_001})
