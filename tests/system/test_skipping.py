"""Under CI a test that would be skipped fails, with its reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

SHARED = sorted((ROOT / "tests/shared").iterdir())

SKIPPING = """
import pytest

@pytest.mark.skipif(True, reason="there is no browser")
def test_by_a_mark(): ...

def test_by_a_call(): pytest.skip("there is no node")
"""


@pytest.mark.parametrize(("ci", "failed"), [("1", True), (None, False)])
def test_a_skip_is_a_failure_under_ci_only(tmp_path: Path, ci: str | None, *, failed: bool) -> None:
    (tmp_path / "test_it.py").write_text(SKIPPING)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    if ci:
        environment["CI"] = ci

    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "conftest",
            "-p",
            "no:cacheprovider",
            "-ra",
            tmp_path,
        ],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": os.pathsep.join(map(str, [ROOT / "tests", *SHARED]))},
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )

    assert process.returncode == failed
    assert "there is no browser" in process.stdout
    assert "there is no node" in process.stdout
