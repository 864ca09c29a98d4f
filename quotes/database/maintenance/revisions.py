"""The revisions of the database, read from file names: importing Alembic takes a second."""

from pathlib import Path

_DATABASE = Path(__file__).resolve().parents[1]
_IN_A_WHEEL, _IN_A_CHECKOUT = _DATABASE / "alembic", _DATABASE.parents[1] / "alembic"

FOLDER = _IN_A_WHEEL if _IN_A_WHEEL.exists() else _IN_A_CHECKOUT


def known() -> list[str]:
    """Oldest first: 0001, 0002, ..."""
    return sorted(path.name.partition("_")[0] for path in FOLDER.glob("versions/*_*.py"))


def head() -> str:
    return known()[-1]
