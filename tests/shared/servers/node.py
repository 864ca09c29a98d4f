"""Node, and the JavaScript packages that the tests run on it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from paths import ROOT

BENCH = ROOT / "bench"
NODE = shutil.which("node")

needs_clients = pytest.mark.skipif(
    NODE is None or not (BENCH / "node_modules/graphql-http").exists(),
    reason="there is no node, or its packages are not installed: npm ci --ignore-scripts in bench/",
)


@asynccontextmanager
async def script(*words: str) -> AsyncIterator[asyncio.StreamReader]:
    """What `node words` in bench/ prints; it must end with status 0."""
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE, *words, cwd=BENCH, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
