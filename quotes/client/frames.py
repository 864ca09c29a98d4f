"""Rows as a list, and as a frame of pandas or polars where one is installed."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    SupportsIndex,
    TypeVar,
    get_args,
    get_type_hints,
    overload,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    import polars as pl

Row = TypeVar("Row")

DIGITS = 38  # that a polars.Decimal holds at the most


class Rows(list[Row], Generic[Row]):
    """A list of rows of one class."""

    def __init__(self, kind: type[Row], rows: Iterable[Row] = ()) -> None:
        super().__init__(rows)
        self.kind: type[Any] = kind

    @overload
    def __getitem__(self, place: SupportsIndex) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> Rows[Row]: ...

    def __getitem__(self, place: SupportsIndex | slice) -> Row | Rows[Row]:
        if isinstance(place, slice):
            return Rows(self.kind, super().__getitem__(place))
        return super().__getitem__(place)

    def to_pandas(self, *, floats: bool = False) -> pd.DataFrame:
        """A column for each field. Prices stay exact decimals unless `floats` are requested."""
        types: dict[type, str] = {
            datetime: "datetime64[us, UTC]",
            int: "int64",
            float: "float64",
            bool: "bool",
            Decimal: "float64" if floats else "object",
        }
        kinds = column_types(self.kind)
        frame = _library("pandas").DataFrame(self._columns(), columns=list(kinds))
        return frame.astype({name: types[kind] for name, kind in kinds.items() if kind in types})

    def to_polars(self, *, floats: bool = False) -> pl.DataFrame:
        """As `to_pandas`; exact prices are a `polars.Decimal` of as many places as needed."""
        library = _library("polars")
        columns = self._columns()
        types = {
            datetime: library.Datetime("us", "UTC"),
            int: library.Int64,
            float: library.Float64,
            bool: library.Boolean,
            str: library.String,
        }
        schema = {
            name: library.Decimal(DIGITS, _places(columns[name]))
            if kind is Decimal
            else types[kind]
            for name, kind in column_types(self.kind).items()
        }
        frame: pl.DataFrame = library.DataFrame(columns, schema=schema)
        return frame.cast({library.Decimal: library.Float64}) if floats else frame

    def _columns(self) -> dict[str, list[Any]]:
        return {name: [getattr(row, name) for row in self] for name in column_types(self.kind)}


def column_types(kind: type[Any]) -> dict[str, type]:
    """The type of each field of a class of rows, without None; a Literal is a str."""
    hints = get_type_hints(kind)
    return {field.name: _column_type(hints[field.name]) for field in fields(kind)}


def _column_type(hint: Any) -> type:
    (found,) = {
        type(each) if isinstance(each, str) else each for each in get_args(hint) or (hint,)
    } - {NoneType}
    assert isinstance(found, type)
    return found


def _places(prices: Iterable[Decimal | None]) -> int:
    """Digits after the point that keep each of them exact."""
    return max((-int(each.as_tuple().exponent) for each in prices if each is not None), default=0)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ImportError(
            f"{name} is not installed here, and a frame of it was requested: pip install {name}"
        ) from None
