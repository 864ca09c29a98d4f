"""What is relied on of a library's internals, to be compared with what the library has."""

from collections.abc import Iterable
from inspect import signature


def parameters(kind: type, names: Iterable[str]) -> dict[str, str]:
    """Of its methods that are called or overridden, beside `self`."""
    return {name: ", ".join(list(signature(getattr(kind, name)).parameters)[1:]) for name in names}


def lacking(thing: object, names: str) -> list[str]:
    """Attributes, separated by spaces, that it has not."""
    return [name for name in names.split() if not hasattr(thing, name)]
