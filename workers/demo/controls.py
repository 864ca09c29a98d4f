"""The stand-in's faults by HTTP: GET /faults, PUT and DELETE /faults/btc_usd."""

from collections.abc import Collection
from typing import Protocol

from aiohttp import web

from workers.demo.faults import Fault


class Faulty(Protocol):
    """What has them."""

    faults: dict[str, Fault]

    def known(self) -> Collection[str]:
        """The indexes that have a price here."""
        ...


class Controls:
    """Lists, sets and lifts them."""

    def __init__(self, exchange: Faulty) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/faults", self._list),
            web.put("/faults/{index_name}", self._set),
            web.delete("/faults/{index_name}", self._lift),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.faults)

    async def _set(self, request: web.Request) -> web.Response:
        index = request.match_info["index_name"]
        word = (await request.read()).decode(errors="replace").strip().upper()
        if index not in self._exchange.known():
            raise web.HTTPBadRequest(text=f"There is no index {index!r} here.\n")
        if word not in Fault.__members__:
            choice = ", ".join(Fault)
            raise web.HTTPBadRequest(text=f"{word[:40]!r} is no fault; send one of {choice}.\n")
        self._exchange.faults[index] = Fault(word)
        return web.Response(text=f"{index}: {word}\n")

    async def _lift(self, request: web.Request) -> web.Response:
        index = request.match_info["index_name"]
        self._exchange.faults.pop(index, None)
        return web.Response(text=f"{index}: no fault\n")
