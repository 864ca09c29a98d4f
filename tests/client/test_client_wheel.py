"""The client as `pip install ./quotes/client` makes it, with aiohttp and nothing of the service."""

import asyncio
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from client import serving
from paths import ROOT
from rows import insert, quote
from uv import build, run, uv

from quotes.database.sessions import Sessions
from quotes.settings import Settings

NAME = re.compile(r"[\w.-]+")
PROGRAM = """
import sys
from quotes.client import Client

with Client(sys.argv[1]) as client:
    print(client.latest()[0].price, next(client.follow()).price)
print([name for name in sys.modules if name.startswith("quotes") and "client" not in name])
"""


def required(name: str) -> Iterator[str]:
    """What a distribution needs in this environment, with what that needs."""
    try:
        found = distribution(name)
    except PackageNotFoundError:  # of another platform or Python
        return
    yield found.name
    for each in found.requires or ():
        if "extra ==" not in each:
            match = NAME.match(each)
            assert match is not None
            yield from required(match[0])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    built = build(ROOT / "quotes/client", folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """Of an environment with the wheel, aiohttp and what aiohttp needs, all as they are here."""
    environment = wheel.parent / "environment"
    run(uv(), "venv", "--python", sys.executable, environment, cwd=wheel.parent)
    python = environment / "bin" / "python"
    words = ("pip", "install", "--no-deps", "--offline", "--python", python, wheel)
    done = run(uv(), *words, cwd=wheel.parent)
    assert done.returncode == 0, done.stderr
    (packages,) = environment.glob("lib/python*/site-packages")
    for name in set(required("aiohttp")):
        here = distribution(name)
        for top in {file.parts[0] for file in here.files or ()} - {"..", "__pycache__"}:
            (packages / top).symlink_to(str(here.locate_file(top)))
    return python


async def test_it_reads_and_follows_with_aiohttp_alone(
    python: Path, settings: Settings, sessions: Sessions, tmp_path: Path
) -> None:
    await insert(sessions, quote(price="91892.59"))

    async with serving(settings) as service:
        done = await asyncio.to_thread(run, python, "-P", "-c", PROGRAM, service.url, cwd=tmp_path)

    assert (done.stderr, done.stdout) == ("", "91892.59 91892.59\n['quotes']\n")


def test_without_pandas_and_polars_a_frame_is_refused_in_a_sentence(
    python: Path, tmp_path: Path
) -> None:
    for name in ("pandas", "polars"):
        program = f"from quotes.client import Quote, Rows; Rows(Quote).to_{name}()"

        done = run(python, "-P", "-c", program, cwd=tmp_path)

        assert f"ImportError: {name} is not installed here" in done.stderr


def test_the_wheel_has_its_types_and_nothing_else(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    code = {f"quotes/client/{file.name}" for file in (ROOT / "quotes/client").glob("*.py")}

    assert code | {"quotes/client/py.typed"} == {
        name for name in names if not name.startswith("quotes_client-")
    }
