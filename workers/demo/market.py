"""The stand-in's made-up market: a price for every index and moment, from a seed alone."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from hashlib import blake2b
from typing import NamedTuple


class Currency(NamedTuple):
    usd: float  # the level it moves around
    daily: float  # a usual day's move, as a share


CURRENCIES = {
    "usd": Currency(1, 0),
    "usdc": Currency(1, 0.0001),
    "usdt": Currency(1, 0.0002),
    "eurr": Currency(1.16, 0.004),
    "btc": Currency(100_000, 0.02),
    "eth": Currency(3_000, 0.03),
    "sol": Currency(150, 0.04),
    "bnb": Currency(700, 0.025),
    "bch": Currency(450, 0.035),
    "ltc": Currency(95, 0.035),
    "aave": Currency(220, 0.04),
    "avax": Currency(24, 0.04),
    "link": Currency(17, 0.04),
    "uni": Currency(8, 0.04),
    "near": Currency(2.6, 0.045),
    "xrp": Currency(2.5, 0.035),
    "trx": Currency(0.31, 0.02),
    "ada": Currency(0.72, 0.035),
    "algo": Currency(0.21, 0.045),
    "doge": Currency(0.19, 0.045),
    "paxg": Currency(4_000, 0.008),
    "1000shib": Currency(0.0124, 0.04),
    "1000bonk": Currency(0.0213, 0.05),
    "pepe": Currency(0.0000098, 0.05),
}
_DOLLARS = ("usd", "usdc", "usdt")
_CROSSES = ("eth_btc", "sol_eth", "paxg_btc", "btc_eurr", "eth_eurr", "eurr_usdc", "usdc_usdt")
_FIXED = ("drbfix-btc_usdc", "drbfix-eth_usdc")
INDEXES = (
    *(f"{base}_{quote}" for base in list(CURRENCIES)[4:] for quote in _DOLLARS),
    *_CROSSES,
    *_FIXED,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# From 4 seconds to 48 days. Each wave is twice as high as the one four times shorter, as in a
# random walk; the sum of all then moves by about `daily` in a day.
_WAVES = [4**n * 1_000_000 for n in range(1, 12)]
_DAY = 86_400_000_000
_SAMPLES = 6  # in an average: one a second where the step is 6 s, as the real averages have


class Chart(NamedTuple):
    span: timedelta
    step: timedelta


# Steps: `1h` was measured and `1m` seen at the real exchange, `2d` is one client's word; those of
# `1d`, `1y` and `all` are chosen here, as is how far `all` goes back.
CHARTS = {
    "1h": Chart(timedelta(hours=1), timedelta(seconds=6)),
    "1d": Chart(timedelta(days=1), timedelta(minutes=1)),
    "2d": Chart(timedelta(days=2), timedelta(minutes=5)),
    "1m": Chart(timedelta(days=30), timedelta(hours=1)),
    "1y": Chart(timedelta(days=365), timedelta(days=1)),
    "all": Chart(timedelta(days=730), timedelta(days=1)),
}


def price(index: str, when: datetime, seed: int) -> Decimal:
    """With as many decimals as the index has; KeyError for a currency that is not made up here."""
    return _price_at(index, seed, micros(when))


def chart(index: str, name: str, now: datetime, seed: int) -> Iterator[tuple[int, Decimal]]:
    """Milliseconds and the average of the step that ends then, oldest first, up to now."""
    span, step = (length // _MICROSECOND for length in CHARTS[name])
    end = micros(now) // step * step
    price_at = partial(_price_at, index, seed)
    places = decimals(index) + 4  # the real averages show four more than their prices
    for at in range(end - span + step, end + step, step):
        moments = (at - step * n // _SAMPLES for n in range(_SAMPLES))
        total = sum((price_at(at) for at in moments), Decimal())
        yield at // 1_000, round(total / _SAMPLES, places)


def decimals(index: str) -> int:
    """Two, or what six significant digits of the usual level take."""
    base, quote = _pair(index)
    level = CURRENCIES[base].usd / CURRENCIES[quote].usd
    return max(2, 5 - math.floor(math.log10(level)))


def text(price: Decimal) -> str:
    """As the exchange writes it: no trailing zeros, and small ones like 1.6433e-4."""
    plain = price.normalize()
    return f"{plain:e}" if plain.adjusted() < -3 else f"{plain:f}"  # noqa: PLR2004  # -4 is seen


def _price_at(index: str, seed: int, micros: int) -> Decimal:
    base, quote = _pair(index)
    level = _worth(base, seed, micros) / _worth(quote, seed, micros)
    return round(Decimal(level), decimals(index))


def _worth(currency: str, seed: int, micros: int) -> float:
    usd, daily = CURRENCIES[currency]
    return usd * math.exp(daily * _walk(f"{seed}:{currency}", micros)) if daily else usd


def _walk(key: str, micros: int) -> float:
    total = 0.0
    for wave in _WAVES:
        cell, into = divmod(micros, wave)
        x = into / wave
        left, right = _corner(key, wave, cell), _corner(key, wave, cell + 1)
        smooth = x * x * (3 - 2 * x)
        total += math.sqrt(wave / _DAY) * (left + (right - left) * smooth)
    return total


@lru_cache(maxsize=1 << 15)  # neighbours share nearly all corners: a chart is made 5 times faster
def _corner(key: str, wave: int, cell: int) -> float:
    """From -1 to 1, the same for the same place for ever."""
    digest = blake2b(f"{key}:{wave}:{cell}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / (1 << 63) - 1


def _pair(index: str) -> tuple[str, str]:
    base, _, quote = index.removeprefix("drbfix-").partition("_")
    return base, quote


def micros(when: datetime) -> int:
    return (when - _EPOCH) // _MICROSECOND
