"""Which revision this release wants, read from file names: importing Alembic takes a second."""

from pathlib import Path

VERSIONS = Path(__file__).resolve().parent.parent / "alembic" / "versions"


def head() -> str:
    return max(path.name.partition("_")[0] for path in VERSIONS.glob("*_*.py"))
