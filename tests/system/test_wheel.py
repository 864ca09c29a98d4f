"""The package as `pip install` makes it, away from the checkout."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from paths import ROOT
from uv import build, run, uv

from quotes.database.maintenance import revisions

PARTS = ("pyproject.toml", "README.md", "hatch_build.py", "quotes", "workers", "alembic")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout's files, without those that the pages are built from."""
    folder = tmp_path_factory.mktemp("100%") / "source"
    folder.mkdir()
    without = shutil.ignore_patterns("__pycache__", "web", "static")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=without)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def installed(source: Path) -> Path:
    """`python` of an environment with the wheel, and with these tests' libraries beside it."""
    built = build(source, source / "dist")
    assert built.returncode == 0, built.stderr
    assert "The pages of quotes/web were not built" in built.stderr
    (wheel,) = (source / "dist").glob("*.whl")
    environment = source.parent / "environment"
    run(uv(), "venv", "--python", sys.executable, environment, cwd=source.parent)
    python = environment / "bin" / "python"
    words = ("pip", "install", "--no-deps", "--offline", "--python", python, wheel)
    done = run(uv(), *words, cwd=source.parent)
    assert done.returncode == 0, done.stderr
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def quotes(
    python: Path, *words: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return run(python, "-P", "-m", "quotes", *words, cwd=cwd, **environment)


def test_an_installed_wheel_migrates_a_database(
    installed: Path, empty_database_url: str, tmp_path: Path
) -> None:
    where = run(installed, "-c", "import quotes; print(quotes.__file__)", cwd=tmp_path)
    assert "site-packages" in where.stdout

    for direction in ("head", "base", "head"):
        done = quotes(
            installed,
            *("migrate", "--revision", direction),
            cwd=tmp_path,
            QUOTES_DATABASE_URL=empty_database_url,
        )

        assert done.returncode == 0, done.stderr


def test_an_installed_wheel_knows_the_same_revisions_and_schema(
    installed: Path, tmp_path: Path
) -> None:
    program = "from quotes.database.maintenance import revisions; print(*revisions.known())"

    assert run(installed, "-c", program, cwd=tmp_path).stdout.split() == revisions.known()
    assert quotes(installed, "schema", cwd=tmp_path).stdout == (ROOT / "schema.graphql").read_text()


def test_the_wheel_leaves_the_client_to_its_own_distribution(
    installed: Path, tmp_path: Path
) -> None:
    done = run(installed, "-P", "-c", "import quotes.client", cwd=tmp_path)

    assert "No module named 'quotes.client'" in done.stderr


def test_a_build_that_requires_the_pages_fails_without_them(source: Path) -> None:
    built = build(source, source / "dist", REQUIRE_PAGES="1")

    assert built.returncode != 0
    assert "The pages of quotes/web were not built" in built.stderr


def test_the_image_requires_the_pages() -> None:
    assert "RUN REQUIRE_PAGES=1 uv sync" in (ROOT / "Dockerfile").read_text()
