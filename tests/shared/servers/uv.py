"""Wheels built, and installed, as users do."""

import os
import shutil
import subprocess
from pathlib import Path

from paths import ROOT


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def build(source: Path, to: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(uv(), "build", "--wheel", "--out-dir", to, cwd=source, **environment)


def uv() -> str:
    """The one that `./dev` runs these tests with."""
    found = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    assert Path(found).exists(), "these tests need uv; run them by ./dev test"
    return found
