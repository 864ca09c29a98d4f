"""How long files are and what they hash to, as far as they have been read to their end."""

from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256

from quotes.export.files import File

MAX_FILES = 10_000  # remembered, in some 5 MB


@dataclass(frozen=True, slots=True)
class Digest:
    """Of a file's bytes, without a content coding."""

    tag: str  # of the version that they are of
    size: int
    sha256: str  # hexadecimal


class Digests:
    """Those of the files last read. A file whose version is another one has to be read again."""

    def __init__(self, most: int = MAX_FILES) -> None:
        self._most = most
        self._known: OrderedDict[File, Digest] = OrderedDict()

    def of(self, file: File, tag: str) -> Digest | None:
        found = self._known.get(file)
        if found is None or found.tag != tag:
            return None
        self._known.move_to_end(file)
        return found

    async def noted(
        self, file: File, tag: str, pieces: AsyncGenerator[bytes]
    ) -> AsyncGenerator[bytes]:
        """The same pieces; once they have all been read, the digest is known."""
        whole, size = sha256(), 0
        async with aclosing(pieces):
            async for piece in pieces:
                whole.update(piece)
                size += len(piece)
                yield piece
        self._known[file] = Digest(tag, size, whole.hexdigest())
        self._known.move_to_end(file)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
