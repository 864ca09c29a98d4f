"""What becomes of queries, counted by their root fields."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from prometheus_client import Histogram

from quotes import metrics
from quotes.api.errors import Code
from quotes.api.plans.root_fields import root_fields

OK = "OK"  # in place of an error's code


@dataclass(slots=True)
class Query:
    """One that is being answered."""

    code: str | None = None  # of its first error; None until it is answered


@contextmanager
def measured(query: str, operation_name: str | None) -> Iterator[Query]:
    """Record how long a query took, and its code, unless nobody waits for it any more."""
    began = time.perf_counter()
    found = Query()
    try:
        yield found
    finally:
        if found.code is not None:
            seconds = time.perf_counter() - began
            for name in root_fields(query, operation_name):
                _seconds_of(name, found.code).observe(seconds)


@cache  # as many as the schema has fields, and there are codes
def _seconds_of(field: str, code: str) -> Histogram:
    return metrics.QUERIES.labels(field, code)


def code_of(errors: Iterable[Mapping[str, Any]]) -> str:
    """The code of the first one, as a client reads it."""
    first = next(iter(errors), None)
    return OK if first is None else str(first.get("extensions", {}).get("code", Code.INTERNAL))
