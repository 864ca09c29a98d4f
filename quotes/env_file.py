"""The file `.env`: its variables, or a sentence about why they cannot be read."""

import codecs
from io import StringIO
from pathlib import Path

from dotenv.main import resolve_variables
from dotenv.parser import parse_stream

NAME = ".env"

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class EnvFileError(Exception):
    """The file is there and cannot be read; the message says why."""


def read() -> dict[str, str | None]:
    """The variables of the file in the current folder; none where there is no file."""
    try:
        content = Path(NAME).read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EnvFileError(f"{NAME} cannot be read ({error.strerror}).") from None
    statements = list(parse_stream(StringIO(_text(content))))
    for statement in statements:
        if statement.error:
            raise EnvFileError(f"{NAME}, line {statement.original.line}: this is not NAME=value.")
    named = [(each.key, each.value) for each in statements if each.key is not None]
    return dict(resolve_variables(named, override=True))


def _text(content: bytes) -> str:
    """Raises EnvFileError where this is no text; an editor's mark at the start is no part of it."""
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise EnvFileError(
            f"{NAME}, line {line}: this is not UTF-8 text. Save the file as UTF-8."
        ) from None
    if "\0" in text:
        raise EnvFileError(f"{NAME} is not UTF-8 text. Save the file as UTF-8.")
    return text
