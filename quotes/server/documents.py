"""New documents, checked without holding up the event loop."""

import asyncio
from dataclasses import dataclass, field

from quotes.api import documents
from quotes.api.errors import bad_input, client_error
from quotes.api.plans.documents import core
from quotes.live.turns import Turns
from quotes.server.admission import overloaded

SHORT = 600  # characters, which are checked in less than 10 ms; a thread is for the longer ones
MAX_WAITING = 64  # documents; at some 50 ms each, what is checked within seconds


@dataclass(frozen=True, slots=True)
class Documents:
    """Long ones are checked one at a time in a thread, in fair turns of their clients."""

    turns: Turns = field(default_factory=lambda: Turns(1))

    async def check(self, query: str) -> None:
        """Have a document in the cache; whoever uses it finds what is wrong with it there.

        Raises GraphQLError, as a client may see it, for one that cannot be parsed; RefusedError
        (OVERLOADED) where too many wait.
        """
        if not query:
            raise bad_input("`query` is empty.")
        found = documents.known(core, query)
        if found is None and len(query) <= SHORT:
            found = documents.document(core, query)
        elif found is None:
            found = await self._checked(query)
        if found.parsed is None:
            raise client_error(found.errors[0])

    async def _checked(self, query: str) -> documents.Document:
        if self.turns.waiting >= MAX_WAITING:
            raise overloaded()
        async with self.turns.turn():
            found = documents.known(core, query)  # another request may have sent it, too
            if found is None:
                found = await asyncio.to_thread(documents.check, core, query)
                documents.store(core, query, found)
            return found
