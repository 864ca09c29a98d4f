"""A ticker's folder of files, one for each day, and what is known of them."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from quotes.database.queries.exports import Version
from quotes.export.files import File

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Archive:
    """`files` has, by its name, what each file was written with."""

    folder: Path
    files: dict[str, dict[str, Any]]

    @classmethod
    def open(cls, folder: Path) -> "Archive":
        """Make the folder, or find what was written into it before. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            files = json.loads((folder / MANIFEST).read_bytes())["files"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            files = {}  # then each file is written anew
        return cls(folder, files if isinstance(files, dict) else {})

    def holds(self, file: File, version: Version) -> bool:
        """Whether the file of this version was written, and is still there."""
        known = self.files.get(_name(file))
        if not isinstance(known, dict) or known.get("tag") != file.tag(version):
            return False
        try:
            return (self.folder / _name(file)).stat().st_size == known.get("bytes")
        except FileNotFoundError:
            return False

    def write(self, file: File, version: Version, body: bytes) -> None:
        """Raises OSError; what was there before then stays."""
        _replace(self.folder / _name(file), body)
        self.files[_name(file)] = {
            "count": version.count,
            "bytes": len(body),
            "sha256": sha256(body).hexdigest(),
            "tag": file.tag(version),
        }

    def save(self) -> None:
        """Write the manifest. Raises OSError."""
        files = dict(sorted(self.files.items()))
        _replace(self.folder / MANIFEST, json.dumps({"files": files}, indent=1).encode())


def _name(file: File) -> str:
    return f"{file.period.text}.{file.format}"


def _replace(path: Path, body: bytes) -> None:
    """Under another name until it is whole."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(body)
    part.replace(path)
