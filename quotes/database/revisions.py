"""The revisions of the database's shape, read from file names: importing Alembic takes a second."""

from pathlib import Path

VERSIONS = Path(__file__).resolve().parents[2] / "alembic" / "versions"


def known() -> list[str]:
    """Oldest first: 0001, 0002, ..."""
    return sorted(path.name.partition("_")[0] for path in VERSIONS.glob("*_*.py"))


def head() -> str:
    return known()[-1]
