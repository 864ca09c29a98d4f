"""Who may query: anybody, or whoever sends an access token that is in the database.

All tokens' hashes are held in memory and read again every few seconds, so that a request costs a
hash and no read of the database, whatever it sends.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import structlog
from starlette.types import Scope

from quotes.api.errors import RETRY_AFTER, Code, RefusedError
from quotes.background import Ended, background
from quotes.database import tokens
from quotes.database.errors import DatabaseError
from quotes.database.sessions import Sessions
from quotes.server.http.error_response import RequestError
from quotes.server.limits.connection_limits import TooManyConnectionsError, address_of

log = structlog.get_logger()

REFRESH = 5.0  # seconds from one read of the tokens to the next
CLOSING = 5.0  # seconds that connections have to be closed in
HOLDER = "quotes.holder"  # in a request's scope: the name of the token that it brought
_SCHEME = "bearer "

End = Callable[[], Awaitable[object]]


class ForbiddenError(RequestError):
    """No token was sent, or one that is not known; the message says how to send one."""

    def __init__(self) -> None:
        super().__init__(
            401,
            "This service asks for an access token: send `Authorization: Bearer TOKEN`, or on a "
            'WebSocket connection_init with the payload {"authorization": "Bearer TOKEN"}.',
            code=Code.UNAUTHENTICATED,
            headers={"WWW-Authenticate": 'Bearer realm="quotes"'},
        )


class Access:
    """The tokens, and the connections that their holders have open. Run by `open_access`."""

    def __init__(self, sessions: Sessions, *, required: bool, most_sockets: int) -> None:
        self.required = required
        self._sessions = sessions
        self._most_sockets = most_sockets
        self._names: Mapping[bytes, str] | None = None  # None until they have been read
        self._open: defaultdict[str, set[End]] = defaultdict(set)

    def identify(self, scope: Scope) -> None:
        """Note in the request's scope whose token it brought, if any is required."""
        if self.required:
            sent = [value for name, value in scope["headers"] if name == b"authorization"]
            if len(sent) == 1 and (name := self._name_of(sent[0].decode("latin-1"))):
                scope[HOLDER] = name

    def admits(self, scope: Scope) -> bool:
        """Whether an identified request may be answered."""
        return not self.required or HOLDER in scope

    def require(self, scope: Scope) -> None:
        """Raises ForbiddenError unless `admits`, and RefusedError until tokens were read."""
        if not self.admits(scope):
            self._require_read()
            raise ForbiddenError

    def holder(self, identified: str | None, payload: Mapping[str, Any] | None) -> str | None:
        """Who has opened a socket: as identified by its handshake, or by its connection_init.

        None where no token is required. Raises ForbiddenError, and RefusedError as `require`.
        """
        if identified is not None or not self.required:
            return identified
        sent = {key.lower(): value for key, value in (payload or {}).items()}.get("authorization")
        if isinstance(sent, str) and (name := self._name_of(sent)):
            return name
        self._require_read()
        raise ForbiddenError

    def _name_of(self, authorization: str) -> str | None:
        scheme, token = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :].strip()
        if self._names is None or scheme.lower() != _SCHEME:
            return None
        return self._names.get(tokens.hash_of(token))

    def _require_read(self) -> None:
        if self._names is None:
            message = "The access tokens cannot be read just now. Try again."
            raise RefusedError(Code.UNAVAILABLE, message, retryAfter=RETRY_AFTER)

    @contextmanager
    def connected(self, name: str | None, end: End) -> Iterator[None]:
        """A connection of a token's holder; `end` ends it where the token is removed.

        Raises TooManyConnectionsError.
        """
        if name is None:
            yield
            return
        if len(self._open[name]) >= self._most_sockets:
            raise TooManyConnectionsError("This access token holds as many connections as it may.")
        self._open[name].add(end)
        try:
            yield
        finally:
            self._open[name].discard(end)
            if not self._open[name]:
                del self._open[name]

    async def run(self) -> None:
        """Read the tokens again and again; ends only by cancellation."""
        while True:
            await asyncio.sleep(REFRESH)
            await self.read()

    async def read(self) -> None:
        """While the database is away, what was read last stays."""
        with suppress(DatabaseError):
            async with self._sessions() as session:
                names = await tokens.names(session)
            removed = (self._names or {}).items() - names.items()
            self._names = names
            for _, name in removed:
                await self._end(name)

    async def _end(self, name: str) -> None:
        """End what the holder of a removed token has open."""
        if ends := tuple(self._open.get(name, ())):
            log.info("token_removed", name=name, connections=len(ends))
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSING):
                    await asyncio.gather(*(end() for end in ends), return_exceptions=True)


def client_of(scope: Scope) -> str:
    """Whom limits count by: the holder of a token, else the address."""
    return key_of(scope[HOLDER]) if HOLDER in scope else address_of(scope)


def key_of(holder: str) -> str:
    return f"token {holder}"  # which no address is


@asynccontextmanager
async def open_access(access: Access, ended: Ended) -> AsyncIterator[Access]:
    """`ended` is called with its task when that ends."""
    if not access.required:
        yield access
        return
    await access.read()
    async with background(access.run(), "access", ended):
        yield access
