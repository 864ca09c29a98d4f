"""Answers as bytes, given again as long as nothing in the log touches what they rest on."""

from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from sys import getsizeof

from quotes.api.plans.scope import Scope
from quotes.live.feed import Feed
from quotes.live.tail import Place
from quotes.settings import MAX_COST

Key = tuple[str, str | None, bytes]  # the document, its operation's name, the variables

OVERHEAD = 1_000  # bytes of memory that an answer takes besides its text and its key
LONG = 16 * 1024  # bytes of an answer that is cached only once its request has come again
MAX_REQUESTED = 10_000  # requests with long answers that are remembered, in some 2 MB


@dataclass(slots=True)
class Uses:
    """How often answers with the same root fields were given from the cache."""

    count: int = 0  # incremented for each request that is answered at once: no dict, no lock


@dataclass
class Answer:
    """A whole GraphQL response."""

    body: bytes
    scopes: tuple[Scope, ...]
    uses: Uses = field(default_factory=Uses)
    requested: int = 0  # points that it could have cost
    actual: int = 0  # points that it did cost
    error: str | None = None  # the code of its first error
    coded: dict[str, bytes] = field(default_factory=dict)  # the body, by content coding
    cached: bool = False

    @cached_property
    def etag(self) -> str:
        """A weak one, since it is the same in each content coding."""
        return f'W/"{blake2b(self.body, digest_size=12).hexdigest()}"'

    def with_cost(self) -> bytes:
        """The body, with what the operation costs in its extensions."""
        shown = b'"requested":%d,"actual":%d,"limit":%d' % (self.requested, self.actual, MAX_COST)
        return self.body[:-1] + b',"extensions":{"cost":{%b}}}' % shown

    def holds(self, now: datetime) -> bool:
        return all(scope.expires is None or now < scope.expires for scope in self.scopes)

    def closed(self, now: datetime) -> bool:
        """Whether only late rows can still change it: all that it rests on is past."""
        return all(
            scope.expires is None and scope.until is not None and scope.until <= now
            for scope in self.scopes
        )


class Answers:
    """The answers last used, in at most `room` bytes.

    A long one has to be requested twice, so that whoever asks for much that nobody asks for again
    drops nothing that others do.
    """

    def __init__(self, feed: Feed, room: int) -> None:
        self._feed = feed
        self._room = room
        self.size = 0  # bytes in use
        self._entries: OrderedDict[Key, tuple[Answer, Place]] = OrderedDict()
        self._requested: OrderedDict[int, None] = OrderedDict()  # hashes of keys of long answers
        self._uses: defaultdict[tuple[str, ...], Uses] = defaultdict(Uses)  # by root fields

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def uses_of(self, fields: tuple[str, ...]) -> Uses:
        return self._uses[fields]

    def uses(self) -> Counter[str]:
        """How often an answer was given from here, by the root fields that it holds."""
        found = Counter[str]()
        for fields, uses in tuple(self._uses.items()):
            found.update(dict.fromkeys(fields, uses.count))
        return found

    def get(self, key: Key, now: datetime) -> Answer | None:
        """One that is what would be answered now, as far as the feed has come."""
        found = self._entries.get(key)
        if found is None:
            return None
        answer, place = found
        if place != self._feed.tail.place:
            changes = self._feed.tail.changes(place)
            if changes is None or any(
                scope.holds(quote) for quote in changes for scope in answer.scopes
            ):
                self._drop(key)
                return None
            self._entries[key] = (answer, max(place, self._feed.tail.place))
        if not answer.holds(now):
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return answer

    def clear(self) -> None:
        """Drop all of them: something besides the log has changed."""
        for key in tuple(self._entries):
            self._drop(key)

    def put(self, key: Key, answer: Answer, place: Place) -> None:
        """`place` is one that the feed had come to before the answer was read."""
        if len(answer.body) > LONG and not self._requested_again(hash(key)):
            return
        if key in self._entries:
            self._drop(key)
        self._entries[key] = (answer, place)
        answer.cached = True
        self._grow(_size(key, answer))

    def _requested_again(self, key: int) -> bool:
        known = key in self._requested
        self._requested[key] = None
        self._requested.move_to_end(key)
        if len(self._requested) > MAX_REQUESTED:
            self._requested.popitem(last=False)
        return known

    def add(self, answer: Answer, coding: str, text: bytes) -> None:
        """Keep an answer's body in a content coding, too, as long as the answer itself."""
        if coding not in answer.coded:
            answer.coded[coding] = text
            if answer.cached:
                self._grow(len(text))

    def _grow(self, size: int) -> None:
        self.size += size
        while self.size > self._room:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        answer, _ = self._entries.pop(key)
        answer.cached = False
        self.size -= _size(key, answer)


def _size(key: Key, answer: Answer) -> int:
    texts = len(answer.body) + sum(map(len, answer.coded.values()))
    return texts + sum(map(getsizeof, key)) + OVERHEAD
