"""Automatic persisted queries: a document is sent once, and afterwards named by its SHA-256.

So a GET stays short enough to be cached. The protocol is Apollo's: a hash that is not known is
answered with PERSISTED_QUERY_NOT_FOUND, and the client sends the document along with it.
"""

from collections import OrderedDict
from hashlib import sha256
from typing import Any

from quotes.api.errors import Code, RefusedError, bad_input

MAX_LENGTH = 4 << 20  # characters of all documents together


class PersistedQueries:
    """The documents last named."""

    def __init__(self, room: int = MAX_LENGTH) -> None:
        self._room = room
        self._length = 0
        self._documents: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._documents)

    def resolved(self, request: Any) -> Any:
        """A request's JSON with its document in it. Raises RefusedError."""
        extensions = request.get("extensions") if isinstance(request, dict) else None
        named = extensions.get("persistedQuery") if isinstance(extensions, dict) else None
        if named is None:
            return request
        if not isinstance(named, dict) or named.get("version") != 1:
            raise bad_input("`persistedQuery` is an object with `version` 1 and `sha256Hash`.")
        digest, query = named.get("sha256Hash"), request.get("query")
        if not isinstance(digest, str):
            raise bad_input("`persistedQuery.sha256Hash` must be a string.")
        if isinstance(query, str) and query:
            self._store(digest, query)
            return request
        if digest not in self._documents:
            # The words are the protocol's, too: clients look for either.
            raise RefusedError(Code.PERSISTED_QUERY_NOT_FOUND, "PersistedQueryNotFound")
        self._documents.move_to_end(digest)
        return {**request, "query": self._documents[digest]}

    def _store(self, digest: str, query: str) -> None:
        try:
            same = sha256(query.encode()).hexdigest() == digest
        except UnicodeEncodeError:
            same = False
        if not same:
            raise bad_input("`persistedQuery.sha256Hash` is not the SHA-256 of `query`.")
        if digest in self._documents:
            return
        self._documents[digest] = query
        self._length += len(query)
        while self._length > self._room:
            _, dropped = self._documents.popitem(last=False)
            self._length -= len(dropped)
