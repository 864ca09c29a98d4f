"""Rows as frames of pandas and polars."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pytest

from quotes.client import Candle, Quote, Rows
from quotes.client.frames import column_types

PRICES = ["0.000000012345678901", "91892.59", "12345678901234567890"]
COLUMNS = ["ticker", "at", "price", "observed_at", "source", "origin", "cursor"]


def quote(price: str, minute: int = 0) -> Quote:
    at = datetime(2026, 1, 31, 12, minute, tzinfo=UTC)
    return Quote(
        ticker="btc_usd",
        at=at,
        price=Decimal(price),
        observed_at=at,
        source="demo",
        origin="LIVE",
        cursor=f"s{minute}",
    )


def candle(price: Decimal | None) -> Candle:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    return Candle(
        open_time=at,
        close_time=at,
        open=price,
        high=price,
        low=price,
        close=price,
        count=0,
        coverage=0.0,
        complete=True,
        filled=True,
    )


QUOTES = Rows(Quote, [quote(price, minute) for minute, price in enumerate(PRICES)])


def test_a_frame_has_each_price_exactly() -> None:
    for frame in (QUOTES.to_pandas(), QUOTES.to_polars()):
        found: Any = frame["price"]
        assert list(frame.columns) == COLUMNS
        assert list(found) == [Decimal(price) for price in PRICES]
        assert [type(price) for price in found] == [Decimal] * len(PRICES)


def test_a_frame_has_floats_where_they_are_requested() -> None:
    wanted = [float(price) for price in PRICES]

    assert QUOTES.to_pandas(floats=True)["price"].dtype == float
    assert list(QUOTES.to_pandas(floats=True)["price"]) == wanted
    assert QUOTES.to_polars(floats=True)["price"].dtype == pl.Float64
    assert list(QUOTES.to_polars(floats=True)["price"]) == wanted


def test_a_frame_s_moments_are_in_utc() -> None:
    assert list(QUOTES.to_pandas()["at"]) == [row.at for row in QUOTES]
    assert list(QUOTES.to_polars()["at"]) == [row.at for row in QUOTES]


@pytest.mark.parametrize("floats", [False, True])
def test_a_frame_without_rows_has_the_columns_and_types_of_one_with_rows(*, floats: bool) -> None:
    for kind, some in ((Quote, QUOTES), (Candle, Rows(Candle, [candle(Decimal(1))]))):
        none: Rows[Any] = Rows(kind)
        typed = [name for name, found in column_types(kind).items() if found is not str]

        assert list(none.to_pandas().columns) == list(some.to_pandas().columns)
        assert dict(none.to_pandas(floats=floats).dtypes[typed]) == dict(
            some.to_pandas(floats=floats).dtypes[typed]
        )
        assert none.to_polars(floats=True).schema == some.to_polars(floats=True).schema


@pytest.mark.parametrize("floats", [False, True])
def test_a_price_that_is_missing_is_missing_in_the_frame(*, floats: bool) -> None:
    candles = Rows(Candle, [candle(None), candle(Decimal("1.5"))])

    assert list(candles.to_pandas(floats=floats)["open"].isna()) == [True, False]
    assert list(candles.to_polars(floats=floats)["open"].is_null()) == [True, False]


def test_a_slice_can_be_made_a_frame_of_too() -> None:
    assert list(QUOTES[-2:].to_pandas()["price"]) == [Decimal(price) for price in PRICES[-2:]]
    assert QUOTES[0].price == Decimal(PRICES[0])


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=f"pip install {name}"):
            getattr(QUOTES, f"to_{name}")()


def test_a_frame_is_one_of_its_library() -> None:
    assert isinstance(QUOTES.to_pandas(), pd.DataFrame)
    assert isinstance(QUOTES.to_polars(), pl.DataFrame)
