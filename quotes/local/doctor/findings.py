"""What a check has found."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check has ended. Only FAILED makes the command fail."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result. Neither text shows more of a URL than its host."""

    check: str
    state: State
    text: str  # what was found, as a sentence
    remedy: str = ""  # what to do, as a sentence; empty only where all is well


def ok(check: str, text: str) -> Finding:
    return Finding(check, State.OK, text)


def warning(check: str, text: str, remedy: str) -> Finding:
    return Finding(check, State.WARNING, text, remedy)


def failed(check: str, text: str, remedy: str) -> Finding:
    return Finding(check, State.FAILED, text, remedy)
