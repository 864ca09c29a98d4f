"""New documents, checked without holding up the event loop."""

from collections.abc import Mapping

from quotes.api import documents
from quotes.api.errors import bad_input, client_error
from quotes.api.plans.documents import core
from quotes.live.thread import Thread
from quotes.server.limits.admission import overloaded

SHORT = 600  # characters, which are checked in less than 10 ms; a thread is for the longer ones
MAX_LIST = 1_000  # entries, which are looked at one by one; no argument takes as many
MAX_WAITING = 64  # long documents; at some 50 ms each, what is checked within seconds
MAX_WAITING_SHORT = 32  # documents; at some 3 ms each, what is checked within a tenth of a second


async def check(thread: Thread, query: str, variables: Mapping[str, object] | None = None) -> None:
    """Have a document in the cache; whoever uses it finds what is wrong with it there.

    Raises GraphQLError, as a client may see it, for one that cannot be parsed, and for variables of
    which a list is too long; RefusedError (OVERLOADED) where too many wait.
    """
    if not query:
        raise bad_input("`query` is empty.")
    if any(isinstance(each, list) and len(each) > MAX_LIST for each in (variables or {}).values()):
        raise bad_input(f"A list in `variables` has at most {MAX_LIST:,} entries.")
    found = documents.known(core, query)
    if found is None:
        found = await _checked(thread, query)
    if found.parsed is None:
        raise client_error(found.errors[0])


async def _checked(thread: Thread, query: str) -> documents.Document:
    if len(query) <= SHORT:
        if thread.waiting_between >= MAX_WAITING_SHORT:
            raise overloaded()
        return await thread.run_between(documents.document, core, query)
    if thread.waiting >= MAX_WAITING:
        raise overloaded()
    return await thread.run(documents.document, core, query)
