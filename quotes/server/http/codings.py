"""Content codings: how an answer is compressed, by what its client accepts and what that costs.

A day's prices, 1,440 times {at price cursor}, are 120 kB and take PostgreSQL some 3 ms. Compressed
on one core of 2026, zstandard 0.25, zlib 1.2, Brotli 1.2:

    zstd, level 1      24 kB   0.31 ms        Brotli, level 1    26 kB   0.50 ms
    zstd, level 3      25 kB   0.50 ms        Brotli, level 5    23 kB   4.00 ms
    gzip, level 1      30 kB   1.14 ms        gzip, level 6      27 kB   3.23 ms

So higher levels do not pay, nor does Brotli: who takes it takes zstd, too, or gzip at worst.
"""

import asyncio
import zlib
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

import zstandard

from quotes.api.plans.answers import Answer, Answers
from quotes.server.http.qualities import qualities

SHORT = 1_000  # bytes; what is shorter fits into one packet, compressed or not
LONG = 256 * 1024  # bytes; what is longer would hold the event loop for milliseconds


class Coding(StrEnum):
    """As in Accept-Encoding."""

    ZSTD = "zstd"
    BROTLI = "br"
    GZIP = "gzip"


OF_ANSWERS = (Coding.ZSTD, Coding.GZIP)  # the cheaper one first


@lru_cache(256)
def best(accepted: str, offered: Sequence[Coding] = OF_ANSWERS) -> Coding | None:
    """The one that an Accept-Encoding header prefers, of equals the first; None for none."""
    given = dict(qualities(accepted))
    others = given.get("*", 0.0)
    chosen = max(offered, key=lambda coding: given.get(coding, others))
    quality = given.get(chosen, others)
    return chosen if quality > 0 and quality >= given.get("identity", 0.0) else None


async def compressed(text: bytes, coding: Coding) -> bytes:
    """In a thread where it is long."""
    if len(text) > LONG:
        return await asyncio.to_thread(_compressed, text, coding)
    return _compressed(text, coding)


def _compressed(text: bytes, coding: Coding) -> bytes:
    match coding:
        case Coding.ZSTD:
            return zstandard.compress(text, level=1)
        case Coding.GZIP:
            return zlib.compress(text, level=1, wbits=31)
    raise ValueError(coding)


async def coded(answer: Answer, coding: Coding, answers: Answers) -> bytes:
    """An answer's text, compressed only once while it is cached."""
    text = answer.coded.get(coding)
    if text is None:
        text = await compressed(answer.body, coding)
        answers.add(answer, coding, text)
    return text
