"""The client for code without `await`, as in a notebook."""

import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from quotes.client.asynchronous import AsyncClient
from quotes.client.endpoint import ATTEMPTS, SILENCE, TIMEOUT
from quotes.client.loop import Loop

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _waiting(
    method: Callable[Concatenate[AsyncClient, Arguments], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate["Client", Arguments], Result]:
    @wraps(method)
    def call(self: "Client", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return self._loop.run(method(self._client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[AsyncClient, Arguments], AsyncGenerator[Result, None]],
) -> Callable[Concatenate["Client", Arguments], Generator[Result, None, None]]:
    @wraps(method)
    def call(
        self: "Client", /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Generator[Result, None, None]:
        return self._loop.iterate(method(self._client, *args, **kwargs))

    return call


class Client:
    """As `AsyncClient`, with methods that wait. Also within a running loop, as Jupyter's."""

    def __init__(  # noqa: PLR0913  # as AsyncClient's
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = TIMEOUT,
        silence: float = SILENCE,
        attempts: int = ATTEMPTS,
        ssl: ssl.SSLContext | None = None,
    ) -> None:
        self._client = AsyncClient(
            url, token=token, timeout=timeout, silence=silence, attempts=attempts, ssl=ssl
        )
        self._loop = Loop(self._client)

    def __repr__(self) -> str:
        return repr(self._client).removeprefix("Async")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._loop.close()

    latest = _waiting(AsyncClient.latest)
    latest_price = _waiting(AsyncClient.latest_price)
    prices = _waiting(AsyncClient.prices)
    price_pages = _iterating(AsyncClient.price_pages)
    candles = _waiting(AsyncClient.candles)
    candle_pages = _iterating(AsyncClient.candle_pages)
    series = _waiting(AsyncClient.series)
    gaps = _waiting(AsyncClient.gaps)
    tickers = _waiting(AsyncClient.tickers)
    query = _waiting(AsyncClient.query)
    follow = _iterating(AsyncClient.follow)
